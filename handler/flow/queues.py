"""What the worker itself tells the queues that its invocations come from; all else is Lambda's poller's.

Lambda takes done messages out of the queue once the handler has answered. A handler whose process is killed answers
nothing, and what was done in it comes back, or goes to the dead-letter queue. So before something is tried that may end
the process, what is done is acknowledged here. Lambda's own acknowledgement then finds nothing left to do.

What is handed back would stay hidden for the queue's whole visibility timeout, as if its worker had been killed. Here
it is shown again after seconds or minutes. A killed worker shortens nothing, and its
messages stay hidden for the queue's whole visibility timeout. So the time since the first receive, which SQS keeps
with the message, is short where no worker has died. Where it is long the message may also just have waited behind
others: then it is taken for the remains of a death, which costs time and no answer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from handler.intake.messages import Message, Receipt, Removal, Upload

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


_SECONDS = 5.0  # SQS takes milliseconds; images wait meanwhile
_SECONDS_AT_THE_END = 15.0  # nothing waits any more, and on a busy processor the first request's client takes long


class Ledger:
    """Of one delivery."""

    def __init__(self, queues: Queues) -> None:
        self.done: set[Upload | Removal] = set()
        self.failed: set[Upload | Removal] = set()
        """To be handed back."""
        self._queues = queues
        self._acknowledged: set[str | None] = set()
        self._queue_is_out = False

    def acknowledge(self, messages: Iterable[Message], seconds: float) -> None:
        """Takes those of `messages` out of the queue that are done, within `seconds`."""
        done = [m for m in messages if self._is_done(m) and m.id not in self._acknowledged]
        self._acknowledged |= self._tell(self._queues.drop, done, min(_SECONDS, seconds)) or set()

    def hand_back(self, messages: Iterable[Message], visibility_timeout: int, seconds: float) -> None:
        """Shows `messages` again early, as far as that works within `seconds`."""
        wanted = {message: hidden_seconds(message.receives, visibility_timeout) for message in messages}
        self._tell(self._queues.show_again, wanted, min(_SECONDS_AT_THE_END, seconds))

    def _tell(self, request: Callable[[Any], Any], messages: Any, seconds: float) -> Any:
        """The answer; None from a queue that does not answer, which is asked only once."""
        if not messages or not seconds or self._queue_is_out:
            return None
        thread = ThreadPoolExecutor(1, "queue")
        try:
            return thread.submit(request, messages).result(seconds)
        except Exception:  # noqa: BLE001 (what is not acknowledged is spared the risk, what is not shown comes later)
            self._queue_is_out = True
            return None
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


_FIRST_WAIT = 1 / 64  # of the visibility timeout: 12 s of 13 minutes
_GROWTH = 4  # from one receive to the next: 12 s, 49 s, 195 s, and then the longest
_LONGEST_WAIT = 1 / 2  # any longer, and the waits of a few hand-backs would look like a death
_CLOCKS = 0.9  # SQS and the worker read two clocks


def hidden_seconds(receives: int, visibility_timeout: int) -> int:
    """How long a message stays hidden that is handed back at the end of its delivery number `receives`."""
    share = _FIRST_WAIT * _GROWTH ** min(max(receives, 1) - 1, 10)
    return int(visibility_timeout * min(share, _LONGEST_WAIT))


def may_have_killed(message: Message, visibility_timeout: int, now: float) -> bool:
    """Whether an earlier delivery of `message` may have ended with its worker's death; `now` in epoch seconds.

    Of several earlier deliveries the death may be any one, the others were handed back; the shortest such sum counts.
    """
    if message.receives <= 1:
        return False
    if message.first_received_at is None:
        return True
    hand_backs = sum(hidden_seconds(receives, visibility_timeout) for receives in range(1, message.receives - 1))
    return now - message.first_received_at >= _CLOCKS * visibility_timeout + hand_backs
