"""The uploads of a soak and the record that each must end with, all from one seed."""

from __future__ import annotations

import functools
import io
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demo.lesions import BAD_FILES, dermoscopy
from model_layer import Prediction
from proof.soak import faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_layer import Classifier, Rejection

LEAST = 10
"""Fewest uploads: each fault of images needs one."""
PICTURES = 16
SIZE = (160, 120)  # pixels
BAD, DUPLICATED, OVERWRITTEN, DELETED, FAULTY = 0.03, 0.10, 0.01, 0.01, 0.01
"""Shares of the uploads. `FAULTY` holds for each fault of images, and of invocations for each of theirs."""
FORBIDDEN = 0.001
"""Share of uploads that can never be read; at least one."""
POISON = 0.0002
"""Share of uploads that kill every worker that reads them; none in a small soak."""

_AWKWARD = ("a+b %20c", "皮膚/été", "röntgen🔬", "quote\"and'apostrophe", "semicolon;ampersand&question?hash#")


@dataclass(slots=True)
class Planned:
    """One object of the soak."""

    key: str
    contents: list[bytes]
    """Of its versions, in order of upload; more than one if it is overwritten while queued."""
    expected: list[Prediction | Rejection]
    deleted: bool = False
    """While queued."""
    duplicated: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether all its events must be in the queue before the workers start."""
        return self.deleted or len(self.contents) > 1


def plan(count: int, seed: int, batch_size: int, classifier: Classifier, *, each_fault: bool = False) -> list[Planned]:
    """`count` uploads in the soak's mix; an overwritten object counts as two.

    With `each_fault`, every fault once instead of its share.
    """
    rng = random.Random(seed)
    pictures = [rendered(seed * 1000 + number) for number in range(PICTURES)]
    answers = classifier.classify(pictures)
    bad = [(content, classifier.classify([content])[0]) for content in (make(seed) for make in BAD_FILES.values())]
    overwritten = set(rng.sample(range(count), round(count * OVERWRITTEN)))
    objects = []
    for number in range(count - len(overwritten)):
        key = f"soak/{rng.choice(_AWKWARD)}/{number:06}.jpg" if number % 50 == 0 else f"soak/{number:06}.jpg"
        which = rng.randrange(PICTURES)
        objects.append(Planned(key, [marked(pictures[which], number)], [answers[which]]))
    _spread(rng, objects, overwritten, bad, pictures, answers)
    _disturb(rng, objects, _each_once() if each_fault else _shares(rng, count, batch_size))
    return objects


def _spread(
    rng: random.Random,
    objects: list[Planned],
    overwritten: set[int],
    bad: Sequence[tuple[bytes, Prediction | Rejection]],
    pictures: Sequence[bytes],
    answers: Sequence[Prediction | Rejection],
) -> None:
    """Chooses bad, overwritten, deleted and duplicated objects; only duplicates may be one of the others."""
    chosen = rng.sample(objects, len(objects))
    for _ in overwritten:
        one, which = chosen.pop(), rng.randrange(len(pictures))
        one.contents.append(marked(pictures[which], len(objects) + len(chosen)))
        one.expected.append(answers[which])
    for _ in range(round(len(objects) * DELETED)):
        chosen.pop().deleted = True
    for number in range(round(len(objects) * BAD)):
        one = chosen.pop()
        content, answer = bad[number % len(bad)]
        one.contents, one.expected = [content], [answer]
    for one in rng.sample(objects, round(len(objects) * DUPLICATED)):
        one.duplicated = True


def _disturb(rng: random.Random, objects: Sequence[Planned], chosen: Sequence[str]) -> None:
    """Gives each fault a sound image of its own."""
    sound = [one for one in objects if not one.held and isinstance(one.expected[0], Prediction)]
    for one, fault in zip(rng.sample(sound, len(chosen)), chosen, strict=True):
        one.faults.append(fault)


def _each_once() -> list[str]:
    return [*faults.OF_IMAGES, *faults.OF_INVOCATIONS, *faults.KILLS, *sorted(faults.LASTING)]


def _shares(rng: random.Random, count: int, batch_size: int) -> list[str]:
    """Every fault in its share; in a small soak, the faults of invocations may be left out."""
    invocations = count / batch_size
    chosen = [fault for fault in faults.OF_IMAGES for _ in range(max(1, round(count * FAULTY)))]
    chosen += [fault for fault in faults.OF_INVOCATIONS for _ in range(_rounded(rng, invocations * FAULTY))]
    kills = _rounded(rng, invocations * FAULTY)
    chosen += [faults.KILLS[number % len(faults.KILLS)] for number in range(kills)]
    chosen += [faults.POISON] * round(count * POISON)
    return chosen + [faults.FORBIDDEN] * max(1, round(count * FORBIDDEN))


def _rounded(rng: random.Random, expected: float) -> int:
    return int(expected + rng.random())


@functools.cache  # drawing takes most of the time of a small soak
def rendered(seed: int) -> bytes:
    """A small JPEG of a drawn lesion."""
    buffer = io.BytesIO()
    dermoscopy(seed).resize(SIZE).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def marked(jpeg: bytes, number: int) -> bytes:
    """The same picture as a distinct file, by a comment (ITU T.81, B.2.4.5)."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a" + f"{number:08}".encode() + jpeg[2:]
