"""What a soak uploads, and the record that each upload must end with. Pure but for rendering, all from one seed."""

from __future__ import annotations

import functools
import io
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demo.lesions.bad_files import BAD_FILES
from demo.lesions.views import dermoscopy
from model_layer import Prediction
from proof.soak import faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_layer import Classifier, Rejection

LEAST = 10
"""Uploads: fewer have no room for one of each fault of images."""
PICTURES = 16
SIZE = (160, 120)  # pixels
BAD, DUPLICATED, OVERWRITTEN, DELETED, FAULTY = 0.03, 0.10, 0.01, 0.01, 0.01
"""Shares of the uploads; `FAULTY` for each fault of images, and of the invocations for each fault of these."""
FORBIDDEN = 0.001
"""Share of the uploads that can never be read; at least one."""
POISON = 0.0002
"""Share of the uploads that kill every worker that reads them; none in a small soak, where one would be too many."""

_AWKWARD = ("a+b %20c", "皮膚/été", "röntgen🔬", "quote\"and'apostrophe", "semicolon;ampersand&question?hash#")


@dataclass(slots=True)
class Planned:
    """One object of the soak."""

    key: str
    contents: list[bytes]
    """Of its versions, in the order of their upload; more than one where it is overwritten while queued."""
    expected: list[Prediction | Rejection]
    deleted: bool = False
    """While queued."""
    duplicated: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether it must be in the queue, with all that happened to it, before a worker looks."""
        return self.deleted or len(self.contents) > 1


def plan(count: int, seed: int, batch_size: int, classifier: Classifier, *, each_fault: bool = False) -> list[Planned]:
    """`count` uploads with the soak's mix; each overwritten object counts as two.

    `each_fault`: every fault once, instead of its share.
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
    """Bad, overwritten, deleted and duplicated objects; the first three are different ones."""
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
    """Faults for images that are read; each strikes another one."""
    sound = [one for one in objects if not one.held and isinstance(one.expected[0], Prediction)]
    for one, fault in zip(rng.sample(sound, len(chosen)), chosen, strict=True):
        one.faults.append(fault)


def _each_once() -> list[str]:
    return [*faults.OF_IMAGES, *faults.OF_INVOCATIONS, *faults.KILLS, *sorted(faults.LASTING)]


def _shares(rng: random.Random, count: int, batch_size: int) -> list[str]:
    """A process that dies loses some inferences. With few invocations a hundredth of them is less than one."""
    invocations = count / batch_size
    chosen = [fault for fault in faults.OF_IMAGES for _ in range(max(1, round(count * FAULTY)))]
    chosen += [fault for fault in faults.OF_INVOCATIONS for _ in range(_rounded(rng, invocations * FAULTY))]
    kills = _rounded(rng, invocations * FAULTY)
    chosen += [faults.KILLS[number % len(faults.KILLS)] for number in range(kills)]
    chosen += [faults.POISON] * round(count * POISON)
    return chosen + [faults.FORBIDDEN] * max(1, round(count * FORBIDDEN))


def _rounded(rng: random.Random, expected: float) -> int:
    return int(expected + rng.random())


@functools.cache  # drawing takes a third of a second
def rendered(seed: int) -> bytes:
    """A small JPEG of a drawn lesion."""
    buffer = io.BytesIO()
    dermoscopy(seed).resize(SIZE).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def marked(jpeg: bytes, number: int) -> bytes:
    """The same picture in a file of its own: a comment (ITU T.81, B.2.4.5) tells it from all others."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a" + f"{number:08}".encode() + jpeg[2:]
