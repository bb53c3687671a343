"""The messages of one invocation, in the order of work: removals, then what is new, then the suspects one by one.

S3 tells the housekeeper of removals. Where one reaches a worker all the same (a message of another source, or sent
before the housekeeper was deployed), the worker passes it on: its role may erase nothing.

A killed process answers nothing, so all of its messages come back, and nothing says which upload killed it. The uploads
of a message that comes back are therefore suspects, unless its times show that it was handed back
(`handler.flow.queues`). Suspects are tried one at a time, after all others. Each is announced before an attempt: it
gets a `failed` record with the code `unfinished`, which counts the attempt. If the process dies again, that record
shows which upload was being tried, and its neighbours are tried first when the messages come back.

    removals of the batch ──► passed on to the housekeeper

    uploads of the batch
       │ looked up in the table, 500 at a time; on the last two receives: announced
       │
       ├── done: has a final record ───────────────────────────────────────────────────────────────────┐
       ├── new: no reason for suspicion ──► pipeline, side by side ──► recorded ───────────────────────┤
       └── suspect: its message may have killed a worker, or cannot come again                         │
              │ waits until nothing new is left; then one at a time:                                   │
              ├── two attempts on it ended in a death, and it has neighbours ──► handed back           │
              ├── its neighbours could not survive another death ──► handed back                       │
              └── announced with attempts + 1 (not on the last receive) ──► pipeline, alone            │
                     ├── the process dies ──► all messages come back, only this one has the attempt    │
                     ├── an error ──► attempts as before, handed back                                  │
                     └── recorded ─────────────────────────────────────────────────────────────────────┤
                                                                                                       ▼
                                               removed meanwhile: the housekeeper is told once more ──► done

An error at any point hands its upload back: its message comes again. Before anything that may end the process, messages
are acknowledged that are done and have too few receives left to come back. docs/decisions.md shows, receive by receive,
how many uploads that kill their worker a batch survives.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from handler.errors import ErrorCode, TryAgainError
from handler.flow.invocation import each_within, within
from handler.flow.pipeline import Pipeline
from handler.flow.queues import AT_ONCE, Ledger, may_have_killed
from handler.flow.stages import OUT_OF_TIME, NearEnd, Outcome, in_time_or_again
from model_layer import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from handler.flow.invocation import Invocation
    from handler.flow.queues import Queues
    from handler.flow.stages import Stages
    from handler.intake.messages import Batch, Message, Removal, Upload
    from handler.store.erasure import Marks
    from handler.store.table import State

_Result = TypeVar("_Result")

_LOOKED_UP_AT_ONCE = 500  # uploads; five requests, and more than any batch of single uploads
_CHECKED_AT_ONCE = 50  # uploads; each may have two marks, and one request looks up a hundred
_WORKER_DIED = TryAgainError(
    ErrorCode.WORKER_DIED,
    "Attempts on this upload alone ended the worker's process. It is not tried again beside others.",
)
_BAD_COMPANY = TryAgainError(
    ErrorCode.BAD_COMPANY, "It waits for a delivery without messages that are on their last receive."
)


@dataclass(frozen=True, slots=True)
class RemovalOutcome:
    """What became of one removal in this invocation."""

    removal: Removal
    error: TryAgainError | None = None
    """Why the removal must come again; None when it is passed on, or need not be."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """An upload that must be tried alone."""

    upload: Upload
    attempts: int
    """On it alone, as far as they have not reported back."""
    state: State | None
    """The state of its record, if it has one. It is not final."""


class Delivery:
    """The messages of one invocation. Used once."""

    def __init__(
        self,
        batch: Batch,
        stages: Stages,
        marks: Marks | None,
        queues: Queues,
        invocation: Invocation,
        *,
        max_receives: int,
        visibility_timeout: int,
    ) -> None:
        """`marks` is None where the records of removed objects are kept; `visibility_timeout` is in seconds."""
        self.messages_naming = _messages_by_upload(batch)
        self._batch = batch
        self._stages = stages
        self._marks = marks
        self._queues = queues
        self._ledger = Ledger(queues)
        self._invocation = invocation
        self._max_receives = max_receives
        self._visibility_timeout = visibility_timeout
        self._began = time.time()
        self._attempts: dict[Upload, int] = {}
        """Of each upload that has been looked up."""

    def run(self) -> Iterator[RemovalOutcome | Outcome]:
        """Yields one outcome for each removal and each upload of the batch, as soon as it is known. Never raises."""
        yield from self._pass_on_removals()
        suspects: list[_Suspect] = []
        for uploads in self._slices():
            try:
                states = self._states(uploads)
            except Exception as error:  # noqa: BLE001 (a table that cannot be read will not be written either)
                yield from self._skip(uploads, in_time_or_again(error))
                continue
            done, new, suspected = self._sort(uploads, states)
            suspects += suspected
            self._announce([*new, *(suspect.upload for suspect in suspected)])
            yield from self._settle(Outcome(upload) for upload in done)
            if new:  # any of them may end this process
                self._acknowledge_near_end()
            yield from self._settle(self._pipeline().run(new))
        yield from self._one_by_one(suspects)
        self._acknowledge_near_end()  # this process may still die before Lambda has the answer

    def unfinished(self) -> list[Message]:
        """The messages to hand back: not understood in full, or naming something that is not done."""
        return [message for message in self._batch.messages if message.id and not self._ledger.is_done(message)]

    def hand_back(self, messages: Iterable[Message]) -> None:
        """Has `messages` shown again long before the queue's visibility timeout ends."""
        self._ledger.hand_back(messages, self._visibility_timeout, self._invocation.seconds_to_finish())

    # Removals

    def _pass_on_removals(self) -> Iterator[RemovalOutcome]:
        """Where there are uploads too, removals get half of the time, because an upload may be on its last receive."""
        removals = list(dict.fromkeys(removal for message in self._batch.messages for removal in message.removals))
        if not self._marks:
            self._ledger.done.update(removals)
            return
        reserved = self._invocation.seconds_to_begin() / 2 if self.messages_naming else 0.0
        until = time.monotonic() + self._invocation.seconds_to_write() - reserved
        error: TryAgainError | None = None
        for start in range(0, len(removals), AT_ONCE):
            some = removals[start : start + AT_ONCE]
            error = error or self._error_of(partial(self._queues.pass_on, some), until - time.monotonic())
            (self._ledger.to_hand_back if error else self._ledger.done).update(some)
            yield from (RemovalOutcome(removal, error) for removal in some)

    def _error_of(self, call: Callable[[], object], seconds: float) -> TryAgainError | None:
        try:
            within(max(0.0, seconds), call)
        except Exception as error:  # noqa: BLE001 (they come again)
            return in_time_or_again(error)
        return None

    # Uploads: who is done, who is new, who is a suspect

    def _slices(self) -> Iterator[list[Upload]]:
        """A few hundred uploads at a time, so that each receive of a message of ten thousand finishes some.

        Once no time is left, the rest comes in one slice: it is only handed back.
        """
        uploads = list(self.messages_naming)
        while uploads:
            size = _LOOKED_UP_AT_ONCE if self._invocation.seconds_to_begin() else len(uploads)
            yield uploads[:size]
            uploads = uploads[size:]

    def _states(self, uploads: list[Upload]) -> dict[Upload, State]:
        if not self._invocation.seconds_to_begin():
            raise TimeoutError
        return self._in_time(lambda: self._stages.states(uploads, self._invocation))

    def _sort(
        self, uploads: list[Upload], states: dict[Upload, State]
    ) -> tuple[list[Upload], list[Upload], list[_Suspect]]:
        """`uploads` as done, new and suspect."""
        done: list[Upload] = []
        new: list[Upload] = []
        suspects: list[_Suspect] = []
        for upload in uploads:
            state = states.get(upload)
            attempts = self._attempts[upload] = self._attempts_of(upload, state)
            if state and state.final:
                done.append(upload)
            elif attempts or self._is_suspect(upload):
                suspects.append(_Suspect(upload, attempts, state))
            else:
                new.append(upload)
        return done, new, suspects

    def _is_suspect(self, upload: Upload) -> bool:
        """Every upload is a suspect on its last receive: no later one could finish what a death leaves undone."""
        return self._receives_left(upload) <= 0 or any(
            may_have_killed(message, self._visibility_timeout, self._began) for message in self.messages_naming[upload]
        )

    def _attempts_of(self, upload: Upload, state: State | None) -> int:
        """Only attempts since its message came into the queue count, so that a redrive starts at none."""
        if not state:
            return 0
        sent = [message.sent_at for message in self.messages_naming[upload] if message.sent_at]
        return state.attempts if not sent or state.since >= min(sent) else 0

    def _announce(self, uploads: Iterable[Upload]) -> None:
        """Announces those on their last two receives, before anything can end this process or its time.

        Otherwise a message could reach the dead-letter queue without a record that says why. The receive before the
        last does it too, because the table may be out of reach on the last. An upload whose record cannot be written is
        tried all the same.

        The housekeeper would write that record too, but later, and without the request that died; and it does not stand
        before every dead-letter queue: not in the shadow lane, and not where `dermbatch work` serves somebody's own.
        """

        def announce(upload: Upload) -> bool:
            return self._stages.announce(upload, self._attempts[upload], self._invocation)

        near_end = [upload for upload in uploads if self._is_near_end(upload)]
        list(each_within(self._invocation.seconds_to_begin(), announce, near_end, self._invocation.threads))

    # Suspects

    def _one_by_one(self, suspects: list[_Suspect]) -> Iterator[Outcome]:
        """Tries those with the fewest attempts first; among equals, those with the fewest receives left."""
        suspects = sorted(suspects, key=lambda suspect: (suspect.attempts, self._receives_left(suspect.upload)))
        for number, suspect in enumerate(suspects):
            if not self._invocation.seconds_to_begin():
                yield from self._skip([left.upload for left in suspects[number:]], OUT_OF_TIME)
                return
            yield from self._settle(self._alone(suspect))

    def _alone(self, suspect: _Suspect) -> Iterator[Outcome]:
        """Tries one suspect with nothing else under way, if its neighbours can survive the death of this process."""
        upload, attempts = suspect.upload, suspect.attempts
        if obstacle := self._obstacle(suspect):
            yield from self._pipeline().skip([upload], obstacle)
            return
        if self._receives_left(upload) > 0:  # on the last it is announced already, and no later attempt needs the count
            try:
                announced = self._in_time(lambda: self._stages.announce(upload, attempts + 1, self._invocation))
            except Exception as error:  # noqa: BLE001 (without that record nothing is tried)
                yield from self._pipeline().skip([upload], in_time_or_again(error))
                return
            # A `superseded` record keeps `failed` out. If there was none, or a `failed` one, a rival's record does.
            if not announced and (not suspect.state or suspect.state.status == Status.FAILED):
                yield Outcome(upload)  # another worker has finished it meanwhile
                return
        for outcome in self._pipeline().run([upload]):
            if outcome.error and not self._is_near_end(upload):
                self._take_back(suspect, outcome.error)
            yield outcome

    def _take_back(self, suspect: _Suspect, error: TryAgainError) -> None:
        """The attempt ended with an error and not with a death: takes it out of the record again, if that works."""
        with suppress(Exception):
            self._in_time(lambda: self._stages.withdraw(suspect.upload, error, suspect.attempts, self._invocation))

    def _obstacle(self, suspect: _Suspect) -> TryAgainError | None:
        """Why `suspect` is not tried now, if there is a reason.

        If it kills this process, all messages that are still in the queue come back. Some have too few receives left to
        bear that: those on their last receive, and before a second attempt also those on the one before. These are
        weak. Those of them that are done are acknowledged now.
        """
        others = [message for message in self._batch.messages if suspect.upload not in message.uploads]
        if suspect.attempts > 1:
            return _WORKER_DIED if others else None
        weak = [message for message in others if self._max_receives - message.receives < 1 + suspect.attempts]
        self._acknowledge(weak)
        last_chance = self._receives_left(suspect.upload) <= 0
        if last_chance and not suspect.attempts:
            return None
        # Those that wait behind it had as many attempts or more, so on its last chance it does not wait for them.
        harms_waiting = not last_chance and any(map(self._ledger.waits, weak))
        if harms_waiting or any(map(self._ledger.is_done_but_queued, weak)):
            return _WORKER_DIED if suspect.attempts else _BAD_COMPANY
        return None

    # The end of every upload

    def _skip(self, uploads: Collection[Upload], error: TryAgainError) -> Iterator[Outcome]:
        return self._settle(self._pipeline().skip(uploads, error))

    def _settle(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """Notes how each upload ended, and has the housekeeper look at those that were removed meanwhile."""
        ended: list[Outcome] = []
        for outcome in outcomes:
            if outcome.error and self._receives_left(outcome.upload) > 0:
                self._ledger.to_hand_back.add(outcome.upload)  # it comes again, and is checked for removals then
                yield outcome
                continue
            ended.append(outcome)
            if len(ended) == _CHECKED_AT_ONCE:
                yield from self._checked(ended)
                ended = []
        if ended:
            yield from self._checked(ended)

    def _checked(self, ended: list[Outcome]) -> list[Outcome]:
        """`ended` after the check for removals, noted in the ledger. On the last receive it contains errors too."""
        checked = self._tell_of_overtaken(ended)
        self._ledger.done.update(outcome.upload for outcome in checked if not outcome.error)
        self._ledger.to_hand_back.update(outcome.upload for outcome in checked if outcome.error)
        return checked

    def _tell_of_overtaken(self, ended: list[Outcome]) -> list[Outcome]:
        """Passes on the removal of every upload whose removal came before its record."""
        marks = self._marks
        if not marks:
            return ended
        uploads = [outcome.upload for outcome in ended]

        def tell() -> set[Upload]:
            overtaking = list(marks.overtaking(uploads, self._invocation.patience))
            if overtaking:
                self._queues.pass_on([removal for removal, _ in overtaking])
            return {upload for _, concerned in overtaking for upload in concerned}

        try:
            removed = self._in_time(tell)
        except Exception as error:  # noqa: BLE001 (they come again, and are checked then)
            return [replace(outcome, error=outcome.error or in_time_or_again(error)) for outcome in ended]
        return [replace(outcome, removed=outcome.upload in removed) for outcome in ended]

    def _acknowledge_near_end(self) -> None:
        """Acknowledges the messages that are done and on their last two receives.

        If the process died on the last, they would become dead letters. If it died on the one before, so would they
        when the table cannot be read on the last.
        """
        self._acknowledge(one for one in self._batch.messages if one.receives >= self._max_receives - 1)

    def _acknowledge(self, messages: Iterable[Message]) -> None:
        self._ledger.acknowledge(messages, self._invocation.seconds_to_begin())

    # Details

    def _in_time(self, call: Callable[[], _Result]) -> _Result:
        return within(self._invocation.seconds_to_finish(), call)

    def _pipeline(self) -> Pipeline:
        return Pipeline(self._stages, self._invocation, self._near_end)

    def _near_end(self, upload: Upload) -> NearEnd | None:
        if not self._is_near_end(upload):
            return None
        return NearEnd(self._receives_left(upload) <= 0, self._attempts.get(upload))

    def _is_near_end(self, upload: Upload) -> bool:
        return self._receives_left(upload) <= 1

    def _receives_left(self, upload: Upload) -> int:
        """After this delivery; may be negative where the queue allows more than `max_receives`."""
        return self._max_receives - max(message.receives for message in self.messages_naming[upload])


def _messages_by_upload(batch: Batch) -> dict[Upload, list[Message]]:
    """Every distinct upload with the messages that name it: several may, since S3 delivers at least once."""
    named: dict[Upload, list[Message]] = {}
    for message in batch.messages:
        for upload in message.uploads:
            named.setdefault(upload, []).append(message)
    return named
