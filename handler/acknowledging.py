"""Drops messages from their queue before the invocation ends, which otherwise Lambda does after it.

Lambda takes done messages out of the queue once the handler has answered. A handler whose process is killed answers
nothing, and what was done in it comes back, or goes to the dead-letter queue. So before something is tried that may end
the process, what is done is acknowledged here. Lambda's own acknowledgement then finds nothing left to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from handler.messages import Message, Receipt

_AT_ONCE = 10  # messages; SQS takes no more in one request


class Acknowledgements:
    """Of the queues that this process's invocations come from."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """`connect` makes the client for SQS: at the first use, since nearly every worker ends without one."""
        self._connect = connect
        self._client: Any = None

    def acknowledge(self, messages: Iterable[Message]) -> set[str]:
        """The ids of those of `messages` that are out of their queue now.

        Raises:
            botocore's errors: SQS cannot be asked.
        """
        known = [(message.id, message.receipt) for message in messages if message.id and message.receipt]
        gone: set[str] = set()
        for start in range(0, len(known), _AT_ONCE):
            gone |= self._drop(known[start : start + _AT_ONCE])
        return gone

    def _drop(self, some: list[tuple[str, Receipt]]) -> set[str]:
        """One request; all of a batch come from one queue."""
        self._client = self._client or self._connect()
        entries = [{"Id": str(number), "ReceiptHandle": receipt.handle} for number, (_, receipt) in enumerate(some)]
        account, name = some[0][1].queue_arn.split(":")[-2:]
        url = f"{self._client.meta.endpoint_url.rstrip('/')}/{account}/{name}"
        answer = self._client.delete_message_batch(QueueUrl=url, Entries=entries)
        return {some[int(entry["Id"])][0] for entry in answer.get("Successful", [])}
