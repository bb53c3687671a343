"""The worker's own requests to SQS. Everything else is up to Lambda's poller.

Lambda deletes the messages that are done, but only after the handler has answered. A handler whose process is killed
never answers: messages that were done in it come back, or go to the dead-letter queue. So before the worker tries
something that may end its process, it deletes here what is done. Lambda's own deletion then finds nothing left to do.

A message that is handed back would stay hidden for the queue's whole visibility timeout. Here it is shown again after
seconds or minutes. A killed worker cannot do that, so its messages stay hidden for the whole timeout. SQS keeps the
time of a message's first receive. If less time has passed since then than a death and the hand-backs take, no worker
has died with it. If more has passed, a worker may have died, or the message has only waited behind others. It is tried
alone in both cases, which costs time but is never wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from handler.aws import AWS_ERRORS, queue_url, unavailable
from handler.errors import ErrorCode, TryAgainError
from handler.flow.invocation import within
from handler.intake.messages import removal_body

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from handler.intake.messages import Message, Receipt, Removal, Upload

_Sent = TypeVar("_Sent")
_Answer = TypeVar("_Answer")

AT_ONCE = 10
"""Messages; SQS takes no more in one request."""
_SECONDS = 5.0  # SQS takes milliseconds; images wait meanwhile
_SECONDS_AT_THE_END = 15.0  # nothing waits any more, and on a busy machine making the client takes long

_FIRST_SHARE = 1 / 64  # of the visibility timeout: 12 s of 13 minutes
_GROWTH = 4  # from one receive to the next: 12 s, 49 s, 195 s, and then the longest
_LONGEST_SHARE = 1 / 2  # any longer, and the waits of a few hand-backs would look like a death
_CLOCK_ALLOWANCE = 0.9  # of the visibility timeout: the clocks of SQS and of the worker differ


def hidden_seconds(receives: int, visibility_timeout: int) -> int:
    """How long a message stays hidden that is handed back at the end of its delivery number `receives`."""
    share = _FIRST_SHARE * _GROWTH ** min(max(receives, 1) - 1, 10)
    return int(visibility_timeout * min(share, _LONGEST_SHARE))


def may_have_killed(message: Message, visibility_timeout: int, now: float) -> bool:
    """Whether a worker may have died during an earlier delivery of `message`; `now` in epoch seconds.

    One of the earlier deliveries may be the death, which hides the message for the whole timeout. The others were
    hand-backs. Nobody knows which one was the death, so the longest wait of a hand-back is not counted.
    """
    if message.receives <= 1:
        return False
    if message.first_received_at is None:
        return True
    hand_backs = sum(hidden_seconds(receives, visibility_timeout) for receives in range(1, message.receives - 1))
    return now - message.first_received_at >= _CLOCK_ALLOWANCE * visibility_timeout + hand_backs


class Queues:
    """The requests to SQS."""

    def __init__(self, connect: Callable[[], Any], removals_url: str | None = None) -> None:
        """`connect` makes the client: at its first use, since most workers never need one."""
        self._connect = connect
        self._removals_url = removals_url
        self._client: Any = None

    def drop(self, messages: Iterable[Message]) -> set[str]:
        """Deletes `messages`; returns the ids of those that are out of their queue now.

        Raises:
            botocore's errors: SQS cannot be asked.
        """
        gone: set[str] = set()
        for url, ids, entries in self._requests({message: {} for message in messages}):
            answer = self._client.delete_message_batch(QueueUrl=url, Entries=entries)
            gone.update(ids[int(entry["Id"])] for entry in answer.get("Successful", []))
        return gone

    def show_again(self, seconds: Mapping[Message, int]) -> None:
        """Makes each message visible that many seconds from now.

        Raises:
            botocore's errors: SQS cannot be asked.
        """
        for url, _, entries in self._requests({message: {"VisibilityTimeout": s} for message, s in seconds.items()}):
            self._client.change_message_visibility_batch(QueueUrl=url, Entries=entries)

    def pass_on(self, removals: Collection[Removal]) -> None:
        """Sends `removals` to the housekeeper's queue: it erases records, which this process may not.

        Raises:
            TryAgainError: SQS has not taken all of them. Those that it has taken may come twice, which harms nothing.
        """
        if not self._removals_url:
            raise TryAgainError(ErrorCode.CONFIGURATION, "REMOVALS_QUEUE_URL is not set, so no removal is passed on.")
        self._client = self._client or self._connect()
        bodies = [removal_body(removal) for removal in removals]
        for start in range(0, len(bodies), AT_ONCE):
            some = bodies[start : start + AT_ONCE]
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(some)]
            try:
                answer = self._client.send_message_batch(QueueUrl=self._removals_url, Entries=entries)
            except AWS_ERRORS as error:
                raise unavailable(ErrorCode.QUEUE_UNAVAILABLE, "SendMessageBatch", error) from error
            if answer.get("Failed"):
                raise TryAgainError(ErrorCode.QUEUE_UNAVAILABLE, "SendMessageBatch left removals unsent.")

    def _requests(
        self, wanted: Mapping[Message, Mapping[str, int]]
    ) -> Iterator[tuple[str, list[str], list[dict[str, Any]]]]:
        """Address, message ids and entries of each request. All messages of a batch come from one queue."""
        known = [(one.id, one.receipt, more) for one, more in wanted.items() if one.id and one.receipt]
        for start in range(0, len(known), AT_ONCE):
            some = known[start : start + AT_ONCE]
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt.handle, **more}
                for number, (_, receipt, more) in enumerate(some)
            ]
            yield self._address(some[0][1]), [identifier for identifier, _, _ in some], entries

    def _address(self, receipt: Receipt) -> str:
        self._client = self._client or self._connect()
        return queue_url(self._client, receipt.queue_arn)


class Ledger:
    """How the uploads and removals of one invocation have ended so far, and which messages are already acknowledged."""

    def __init__(self, queues: Queues) -> None:
        self.done: set[Upload | Removal] = set()
        self.to_hand_back: set[Upload | Removal] = set()
        """Uploads and removals that must come again. Their records, if any, need not be `failed`."""
        self._queues = queues
        self._acknowledged: set[str | None] = set()
        self._queue_is_out = False

    def is_done(self, message: Message) -> bool:
        """Whether everything that `message` names is done."""
        return not message.problems and self.done.issuperset((*message.uploads, *message.removals))

    def is_done_but_queued(self, message: Message) -> bool:
        """Whether `message` is done, but still in its queue: if this process dies, it comes back."""
        return self.is_done(message) and message.id not in self._acknowledged

    def waits(self, message: Message) -> bool:
        """Whether an upload of `message` has not had its turn yet."""
        return not (self.done | self.to_hand_back).issuperset(message.uploads)

    def acknowledge(self, messages: Iterable[Message], seconds: float) -> None:
        """Deletes those of `messages` that are done from their queue, within `seconds`."""
        done = [m for m in messages if self.is_done(m) and m.id not in self._acknowledged]
        self._acknowledged |= self._ask(self._queues.drop, done, min(_SECONDS, seconds)) or set()

    def hand_back(self, messages: Iterable[Message], visibility_timeout: int, seconds: float) -> None:
        """Has `messages` shown again early, as far as that works within `seconds`."""
        waits = {message: hidden_seconds(message.receives, visibility_timeout) for message in messages}
        self._ask(self._queues.show_again, waits, min(_SECONDS_AT_THE_END, seconds))

    def _ask(self, request: Callable[[_Sent], _Answer], sent: _Sent, seconds: float) -> _Answer | None:
        """The answer; None from a queue that does not answer, which is not asked again."""
        if not sent or not seconds or self._queue_is_out:
            return None
        try:
            return within(seconds, lambda: request(sent))
        except Exception:  # noqa: BLE001 (then nothing that is done is put at risk, and messages come back later)
            self._queue_is_out = True
            return None
