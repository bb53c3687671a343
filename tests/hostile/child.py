"""Takes a corpus through the model to its records, in a process of its own with bounded memory.

    python -m hostile.child BUNDLE malformed|bombs MEGABYTES

Prints the name of each case before it begins, and one JSON line of what became of it, so that whoever reads along knows
which one killed the process or never came back.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from hostile.bombs import bombs
from hostile.corpus import ENCODERS, malformed, sound

from handler.intake.messages import Upload
from handler.store.record import FileFacts, Finding, build_record
from model_layer import Classifier, DecodedImage, DecodingLimits

if TYPE_CHECKING:
    from model_layer import Rejection

MEGA = 2**20


def main(bundle: str, part: str, megabytes: int) -> None:
    classifier = Classifier.load(bundle, limits=DecodingLimits(), threads=1)
    cases = [(name, lambda data=data: data, kind) for kind, name, data in malformed()] if part == "malformed" else None
    neighbours = _Neighbours(classifier)  # decoded while memory is clean
    used = _status_kb("VmSize") * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * MEGA,) * 2)
    for name, make, kind in cases or [(name, make, "jpg") for name, make in bombs()]:
        _tell(name)
        _tell(json.dumps(_run(classifier, name, make(), neighbours, kind)))


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _run(classifier: Classifier, name: str, data: bytes, neighbours: _Neighbours, kind: str) -> dict[str, Any]:
    _forget_peak()
    before = _status_kb("VmRSS")
    started = time.process_time()
    decoded = classifier.decode(data)
    seconds = time.process_time() - started
    peak = _status_kb("VmHWM") - before
    answer = classifier.predict([decoded])[0] if isinstance(decoded, DecodedImage) else decoded
    upload = Upload("bucket", name, "v1", "e" * 32, None)
    record = build_record(Finding(upload, answer, FileFacts(None, len(data))), classifier.bundle, "request")
    json.dumps(record)
    undisturbed = neighbours.are_undisturbed(kind)
    # Memory of the neighbour, decoded in between, must not show in what is decoded now.
    again = classifier.decode(data) if len(data) < MEGA else decoded
    return {
        "name": name,
        "status": record["status"],
        "code": record["reasons"][0]["code"] if record["status"] == "rejected" else None,
        "format": record["object"]["format"],
        "seconds": seconds,
        "peak_mb": peak / 1024,
        "own_pixels": _same(decoded, again) and undisturbed,
    }


class _Neighbours:
    """Two sound images of each format, which no case may change."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._expected = {(kind, seed): classifier.decode(sound(kind, seed)) for kind in ENCODERS for seed in (1, 2)}
        self._turn = 0

    def are_undisturbed(self, kind: str) -> bool:
        """Decodes one of them again, the other the next time."""
        self._turn = 3 - self._turn if self._turn else 1
        key = (kind if kind in ENCODERS else "png", self._turn)
        return _same(self._expected[key], self._classifier.decode(sound(*key)))


def _same(one: DecodedImage | Rejection, other: DecodedImage | Rejection) -> bool:
    if isinstance(one, DecodedImage) and isinstance(other, DecodedImage):
        return bool(np.array_equal(one.pixels, other.pixels))
    return one == other


def _status_kb(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 (Linux alone has it)
        return next(int(line.split()[1]) for line in status if line.startswith(field))


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as switch:  # noqa: PTH123
        switch.write("5")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
