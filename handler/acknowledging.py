"""How one delivery's messages have ended so far, and what of it their queue has been told before Lambda tells it.

Lambda takes done messages out of the queue once the handler has answered. A handler whose process is killed answers
nothing, and what was done in it comes back, or goes to the dead-letter queue. So before something is tried that may end
the process, what is done is acknowledged here. Lambda's own acknowledgement then finds nothing left to do.

What is handed back would stay hidden for the queue's whole visibility timeout, as if its worker had been killed. Here
it is shown again after seconds or minutes (`handler.redelivery`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from handler.redelivery import hidden_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from handler.messages import Message, Removal, Upload
    from handler.queues import Queues

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
