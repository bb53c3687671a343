"""What the worker itself tells the queues that its invocations come from; all else is Lambda's poller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from handler.messages import Message, Receipt

_AT_ONCE = 10  # messages; SQS takes no more in one request


class Queues:
    """Drops messages, and shows them again early."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """`connect` makes the client for SQS: at the first use, since nearly every worker ends without one."""
        self._connect = connect
        self._client: Any = None

    def drop(self, messages: Iterable[Message]) -> set[str]:
        """The ids of those of `messages` that are out of their queue now.

        Raises:
            botocore's errors: SQS cannot be asked.
        """
        gone: set[str] = set()
        for url, ids, entries in self._requests({message: {} for message in messages}):
            answer = self._client.delete_message_batch(QueueUrl=url, Entries=entries)
            gone.update(ids[int(entry["Id"])] for entry in answer.get("Successful", []))
        return gone

    def show_again(self, seconds: Mapping[Message, int]) -> None:
        """Each message becomes visible after so many seconds from now.

        Raises:
            botocore's errors: SQS cannot be asked.
        """
        for url, _, entries in self._requests({message: {"VisibilityTimeout": s} for message, s in seconds.items()}):
            self._client.change_message_visibility_batch(QueueUrl=url, Entries=entries)

    def _requests(
        self, wanted: Mapping[Message, Mapping[str, int]]
    ) -> Iterator[tuple[str, list[str], list[dict[str, Any]]]]:
        """Address, messages' ids and entries of each request; all messages of a batch come from one queue."""
        known = [(one.id, one.receipt, more) for one, more in wanted.items() if one.id and one.receipt]
        for start in range(0, len(known), _AT_ONCE):
            some = known[start : start + _AT_ONCE]
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt.handle, **more}
                for number, (_, receipt, more) in enumerate(some)
            ]
            yield self._address(some[0][1]), [identifier for identifier, _, _ in some], entries

    def _address(self, receipt: Receipt) -> str:
        self._client = self._client or self._connect()
        account, name = receipt.queue_arn.split(":")[-2:]
        return f"{self._client.meta.endpoint_url.rstrip('/')}/{account}/{name}"
