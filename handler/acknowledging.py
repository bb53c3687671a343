"""Drops messages from their queue before the invocation ends, which otherwise Lambda does after it.

Lambda takes done messages out of the queue once the handler has answered. A handler whose process is killed answers
nothing, and what was done in it comes back, or goes to the dead-letter queue. So before something is tried that may end
the process, what is done is acknowledged here. Lambda's own acknowledgement then finds nothing left to do.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from handler.messages import Message, Receipt, Removal, Upload

_AT_ONCE = 10  # messages; SQS takes no more in one request
_SECONDS = 5.0  # SQS takes milliseconds; images wait meanwhile


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


class Ledger:
    """How the parts of one delivery's messages have ended so far, and what of it the queue has been told."""

    def __init__(self, acknowledgements: Acknowledgements, seconds_left: Callable[[], float]) -> None:
        self.done: set[Upload | Removal] = set()
        self.failed: set[Upload | Removal] = set()
        """To be handed back."""
        self._acknowledgements = acknowledgements
        self._seconds_left = seconds_left
        self._acknowledged: set[str | None] = set()
        self._queue_is_out = False

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Takes those of `messages` out of the queue that are done; a queue that does not answer is asked only once."""
        done = [m for m in messages if self._is_done(m) and m.id not in self._acknowledged]
        if not done or self._queue_is_out:
            return
        thread = ThreadPoolExecutor(1, "acknowledge")
        try:
            gone = thread.submit(self._acknowledgements.acknowledge, done)
            self._acknowledged |= gone.result(min(_SECONDS, self._seconds_left()))
        except Exception:  # noqa: BLE001 (what is not acknowledged is spared the risk instead)
            self._queue_is_out = True
        finally:
            thread.shutdown(wait=False)

    def is_done_in_vain(self, message: Message) -> bool:
        """Whether `message` is done and still in the queue: if this process dies, it comes back all the same."""
        return self._is_done(message) and message.id not in self._acknowledged

    def waits(self, message: Message) -> bool:
        """Whether an upload of `message` has not had its turn; what is handed back comes again in any case."""
        return not (self.done | self.failed).issuperset(message.uploads)

    def _is_done(self, message: Message) -> bool:
        return not message.problems and self.done.issuperset((*message.uploads, *message.removals))
