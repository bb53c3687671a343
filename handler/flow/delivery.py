"""One delivery of messages: what of it is new, what is done already, and what must be tried alone.

A killed process answers nothing, so all of its messages come back, and nothing says which of their images it was. So
a message that comes back is suspected, unless its times tell that it was handed back (`handler.flow.queues`). Suspects
are tried after all others, one after the other, each behind a record that says so (`failed`, code `unfinished`, with
the number of such attempts). If the process dies again, exactly that one image is known by its record, and the next
delivery brings its neighbours to their end first. What is done and could not bear that death is acknowledged before
the attempt. docs/decisions.md shows that `max_receives` suffice for that.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from handler.aws import Patience
from handler.errors import TryAgainError
from handler.flow.pipeline import OUT_OF_TIME, Pipeline
from handler.flow.queues import Ledger, may_have_killed
from handler.flow.stages import NearEnd, Outcome, try_again

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from handler.flow.invocation import Deadline
    from handler.flow.queues import Queues
    from handler.flow.stages import Stages
    from handler.intake.messages import Batch, Message, Removal, Upload
    from handler.store.erasure import Erasure
    from handler.store.table import State

_LOOKED_UP_AT_ONCE = 500  # uploads; five requests, and more than any batch of single uploads
_CHECKED_AT_ONCE = 50  # uploads; their marks are two keys each, and one request looks up a hundred
_WORKER_DIED = TryAgainError(
    "worker_died", "Attempts on this upload alone ended the worker's process. It is not tried again beside others."
)
_BAD_COMPANY = TryAgainError("bad_company", "It waits for a delivery without messages that are on their last receive.")


class Delivery:
    """The messages of one invocation. Used once."""

    def __init__(
        self,
        batch: Batch,
        stages: Stages,
        erasure: Erasure | None,
        queues: Queues,
        *,
        threads: int,
        max_receives: int,
        visibility_timeout: int,
        deadline: Deadline,
        request_id: str,
    ) -> None:
        """`erasure` is None where the records of removed objects are kept."""
        self.named = _messages_by_upload(batch)
        self._batch = batch
        self._stages = stages
        self._erasure = erasure
        self._ledger = Ledger(queues)
        self._threads = threads
        self._max_receives = max_receives
        self._visibility_timeout = visibility_timeout
        self._began = time.time()
        self._attempts_known: dict[Upload, int] = {}
        self._deadline = deadline
        self._patience = Patience(deadline.seconds_to_write)
        self._request_id = request_id

    def removals(self) -> Iterator[tuple[Removal, int, TryAgainError | None]]:
        """Erases what removals speak of: each with the number of records erased, and why it must come again.

        They come first and have half of the time, so that whatever S3 does to them, uploads beside them have the rest:
        on their last receive there is no later one that could record what became of them.
        """
        kept = self._deadline.seconds_to_begin() / 2 if self.named else 0.0
        removals = dict.fromkeys(removal for message in self._batch.messages for removal in message.removals)
        if not self._erasure:
            self._ledger.done.update(removals)
            return
        with _Threads(self._threads, "erase") as threads:
            pending = {removal: threads.submit(self._erasure.remove, removal, self._patience) for removal in removals}
            for removal, future in pending.items():
                try:
                    erased = future.result(max(0.0, self._deadline.seconds_to_write() - kept))
                except Exception as error:  # noqa: BLE001 (one removal's own; others go on)
                    yield removal, 0, _in_words(error)
                else:
                    self._ledger.done.add(removal)
                    yield removal, erased, None

    def uploads(self) -> Iterator[Outcome]:
        """One outcome for each upload that the batch names; no exception for any of them."""
        suspects: dict[Upload, tuple[int, State | None]] = {}
        yield from self._others_than(suspects)
        # Where no process died before which has the fewest deliveries left: once done, it can be acknowledged.
        order = deque(sorted(suspects, key=lambda upload: (suspects[upload][0], -self._receives(upload))))
        while order and self._deadline.seconds_to_begin():
            upload = order.popleft()
            yield from self._settled(self._alone(upload, *suspects[upload]))
        yield from self._settled(self._pipeline().refuse(order, OUT_OF_TIME))
        self._acknowledge_near_the_end()  # until Lambda has the answer, this process may still die

    def _others_than(self, suspects: dict[Upload, tuple[int, State | None]]) -> Iterator[Outcome]:
        """In slices, so that also a message of ten thousand uploads gets further with each delivery."""
        named = list(self.named)
        for start in range(0, len(named), _LOOKED_UP_AT_ONCE):
            if not self._deadline.seconds_to_begin():
                yield from self._settled(self._pipeline().refuse(named[start:], OUT_OF_TIME))
                break
            yield from self._new(named[start : start + _LOOKED_UP_AT_ONCE], suspects)

    def _settled(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """`outcomes`, those with a record that stays looked up for removals, some at a time; notes how each ended."""
        recorded = []
        for outcome in outcomes:
            if outcome.error:
                self._ledger.failed.add(outcome.upload)
                if outcome.upload not in self._last_chance:  # what failed comes again, and is looked up then
                    yield outcome
                    continue
            recorded.append(outcome)
            if len(recorded) == _CHECKED_AT_ONCE:
                yield from self._checked(recorded)
                recorded = []
        if recorded:
            yield from self._checked(recorded)

    def _new(self, uploads: list[Upload], suspects: dict[Upload, tuple[int, State | None]]) -> Iterator[Outcome]:
        """Brings those of `uploads` to their end that are done already or new; adds the others to `suspects`."""
        try:
            states = self._in_time(self._stages.states, uploads, self._patience)
        except Exception as error:  # noqa: BLE001 (a table that cannot be read will not be written either)
            yield from self._settled(self._pipeline().refuse(uploads, _in_words(error)))
            return
        final, fresh = [], []
        for upload in uploads:
            state: State | None = states.get(upload)
            attempts = self._attempts_known[upload] = self._attempts(upload, state)
            if state and state.final:
                final.append(Outcome(upload))
            elif attempts or self._is_suspect(upload):
                suspects[upload] = attempts, state
            else:
                fresh.append(upload)
        self._announce([*fresh, *(upload for upload in uploads if upload in suspects)])
        yield from self._settled(final)
        if fresh:  # any of them may end this process
            self._acknowledge_near_the_end()
        yield from self._settled(self._pipeline().run(fresh))

    def _announce(self, uploads: Iterable[Upload]) -> None:
        """Records those on their last two receives as begun, before anything else might end this process or its time.

        Nothing would come back to say why they are in the dead-letter queue, and on the last receive alone the table
        might be out of reach. Each comes with the number of attempts that were not heard of again, which its record
        keeps. A record that cannot be written now does not keep them from being tried.
        """
        with _Threads(self._threads, "announce") as threads:
            futures = [
                threads.submit(
                    self._stages.begin, upload, self._attempts_known[upload], self._request_id, self._patience
                )
                for upload in uploads
                if self._is_near_end(upload)
            ]
            wait(futures, self._deadline.seconds_to_begin())

    def _alone(self, upload: Upload, attempts: int, state: State | None) -> Iterator[Outcome]:
        """Tries `upload` with nothing else under way, when its neighbours can bear the death of this process."""
        if obstacle := self._obstacle(upload, attempts):
            yield from self._pipeline().refuse([upload], obstacle)
            return
        if upload not in self._last_chance:  # there is no later attempt to count for, and it is recorded already
            try:
                begun = self._in_time(self._stages.begin, upload, attempts + 1, self._request_id, self._patience)
            except Exception as error:  # noqa: BLE001 (see `Stages`)
                yield from self._pipeline().refuse([upload], _in_words(error))
                return
            if not begun and (not state or state.final or state.status == "failed"):
                yield Outcome(upload)  # another worker has come to its end with it
                return
        for outcome in self._pipeline().run([upload]):
            if outcome.error and not self._is_near_end(upload):
                self._take_back(upload, attempts)
            yield outcome

    def _take_back(self, upload: Upload, attempts: int) -> None:
        """An attempt has reported back, with an error: its record says what it said before, as far as that works."""
        with suppress(Exception):
            if attempts:
                self._in_time(self._stages.begin, upload, attempts, self._request_id, self._patience)
            else:
                self._in_time(self._stages.withdraw, upload, self._request_id)

    def _obstacle(self, upload: Upload, attempts: int) -> TryAgainError | None:
        """Why `upload`, with so many attempts that were not heard of again, is not tried alone now.

        If it kills this process, all messages come back that are still in the queue. What is done must then have a
        delivery left, what is not begun one more for its own attempt; what is done and has none is acknowledged now.
        """
        others = [message for message in self._batch.messages if upload not in message.uploads]
        if attempts > 1:
            return _WORKER_DIED if others else None
        weak = [message for message in others if self._max_receives - message.receives < 1 + attempts]
        self._acknowledge(weak)
        last_chance = upload in self._last_chance
        # What waits behind it had as many deaths or more, and no better claim to a last attempt.
        harm = (not last_chance and any(map(self._ledger.waits, weak))) or any(map(self._ledger.is_done_in_vain, weak))
        if not harm or (last_chance and not attempts):
            return None
        return _WORKER_DIED if attempts else _BAD_COMPANY

    def _acknowledge_near_the_end(self) -> None:
        """On the last receive a death would make a dead letter of what is done; on the one before, if the table then
        could not be looked up, as well.
        """
        self._acknowledge(one for one in self._batch.messages if one.receives >= self._max_receives - 1)

    def _acknowledge(self, messages: Iterable[Message]) -> None:
        self._ledger.acknowledge(messages, self._deadline.seconds_to_begin())

    def hand_back(self, messages: Iterable[Message]) -> None:
        """Has `messages`, which are not done, shown again long before the queue's visibility timeout ends."""
        self._ledger.hand_back(messages, self._visibility_timeout, self._deadline.seconds_to_finish())

    def _checked(self, recorded: list[Outcome]) -> list[Outcome]:
        """`recorded`, without the records of what was deleted: a removal may have overtaken its upload."""
        checked = self._without_overtaken(recorded)
        self._ledger.done.update(outcome.upload for outcome in checked if not outcome.error)
        self._ledger.failed.update(outcome.upload for outcome in checked if outcome.error)
        return checked

    def _without_overtaken(self, recorded: list[Outcome]) -> list[Outcome]:
        if not self._erasure:
            return recorded
        uploads = [outcome.upload for outcome in recorded]
        try:
            erased = self._in_time(self._erasure.overtaken, uploads, self._patience)
        except Exception as error:  # noqa: BLE001 (they come again, and are looked at then)
            return [replace(outcome, error=outcome.error or _in_words(error)) for outcome in recorded]
        return [replace(outcome, erased=outcome.upload in erased) for outcome in recorded]

    def _in_time(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """`call(*arguments)`, given up when the invocation ends: a request that hangs must not take it along."""
        if not self._deadline.seconds_to_finish():
            raise TimeoutError
        with _Threads(1, "lookup") as threads:
            return threads.submit(call, *arguments).result(self._deadline.seconds_to_finish())

    def _pipeline(self) -> Pipeline:
        return Pipeline(self._stages, self._threads, self._deadline, self._request_id, self._near_end)

    def _near_end(self, upload: Upload) -> NearEnd | None:
        if not self._is_near_end(upload):
            return None
        return NearEnd(upload in self._last_chance, self._attempts_known.get(upload))

    def _is_near_end(self, upload: Upload) -> bool:
        return self._receives(upload) >= self._max_receives - 1

    @cached_property
    def _last_chance(self) -> frozenset[Upload]:
        return frozenset(
            upload
            for upload, messages in self.named.items()
            if any(message.receives >= self._max_receives for message in messages)
        )

    def _receives(self, upload: Upload) -> int:
        return max(message.receives for message in self.named[upload])

    def _is_suspect(self, upload: Upload) -> bool:
        """On the last receive everything is: no later one could mend what a death then does to its neighbours."""
        return upload in self._last_chance or any(
            may_have_killed(message, self._visibility_timeout, self._began) for message in self.named[upload]
        )

    def _attempts(self, upload: Upload, state: State | None) -> int:
        """Those since the message came into the queue: a redrive begins anew."""
        if not state:
            return 0
        sent = [message.sent_at for message in self.named[upload] if message.sent_at]
        return state.attempts if not sent or state.since >= min(sent) else 0


class _Threads(ThreadPoolExecutor):
    """Stragglers are left to themselves at the end: what they still do is right, and the retry will find it."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)


def _messages_by_upload(batch: Batch) -> dict[Upload, list[Message]]:
    """Every distinct upload with the messages that name it: several may, since S3 delivers at least once."""
    named: dict[Upload, list[Message]] = {}
    for message in batch.messages:
        for upload in message.uploads:
            named.setdefault(upload, []).append(message)
    return named


def _in_words(error: Exception) -> TryAgainError:
    return OUT_OF_TIME if isinstance(error, TimeoutError) else try_again(error)
