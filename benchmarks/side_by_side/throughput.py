"""Images a second, cores busy and peak memory, of two workers that take turns.

Each round hands the same 32 uploads to one worker, then to the other: through the HTTP emulator, then with the
emulator left out, then (fresh processes) with one core.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.side_by_side.cloud import pretended, upload
from benchmarks.side_by_side.rows import Row, at_least, less_is_better, more_is_better
from benchmarks.side_by_side.worker import KINDS, Sample, WorkerProcess, worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack


@dataclass
class Throughput:
    """What the rounds gave."""

    rows: list[Row] = field(default_factory=list)
    seconds_per_image: dict[tuple[str, int], float] = field(default_factory=dict)
    """By kind and cores, the emulator's time left out: what dollars are reckoned from."""
    cpu_ms_per_image: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What all rounds share."""

    stack: Stack
    environment: Mapping[str, str]
    files: Sequence[Path]
    log: Path
    cores: int
    images_before_memory: int = 200
    """That each worker has handled when its peak memory is read."""


def throughput(setting: Setting, rounds: int) -> Throughput:
    """All rows, `rounds` pairs each; before them a round that is not counted."""
    result = Throughput()
    with ExitStack() as stack:
        both = {
            kind: stack.enter_context(worker(kind, setting.environment, setting.log, cores=setting.cores))
            for kind in KINDS
        }
        for each in both.values():
            each.answer()
        through: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
        for number in range(rounds + 1):
            for kind, each in both.items():
                sample = each.handle([upload(setting.stack, setting.files, f"round-{kind}-{number}")])
                through[kind] += [sample] if number else []
        _fill_up(setting, both)  # before the objects that the fakes hold come in
        peaks = {kind: each.memory()["peak"] for kind, each in both.items()}
        without = _without_emulator(setting, both, rounds)
        result.rows += _rate_rows(through, without, setting.cores)
    result.rows.append(
        less_is_better(
            f"peak memory after {setting.images_before_memory} images",
            [peaks["ours"]],
            [peaks["keras"]],
            "MB",
            times=4,
        )
    )
    for kind in KINDS:
        result.seconds_per_image[kind, setting.cores] = median(1 / sample.rate for sample in without[kind])
        result.cpu_ms_per_image[kind] = median(s.cpu_seconds / s.images * 1000 for s in without[kind])
    return result


def on_one_core(setting: Setting, rounds: int) -> dict[str, float]:
    """Seconds an image by kind, each process confined to one core, the emulator's time left out."""
    with ExitStack() as stack:
        both = {kind: stack.enter_context(worker(kind, setting.environment, setting.log, cores=1)) for kind in KINDS}
        for each in both.values():
            each.answer()
        samples = _without_emulator(setting, both, rounds)
    return {kind: median(1 / sample.rate for sample in samples[kind]) for kind in KINDS}


def _without_emulator(setting: Setting, both: Mapping[str, WorkerProcess], rounds: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {kind: [] for kind in both}
    for each in both.values():
        each.ask(fakes=str(setting.files[0].parent))
        each.handle([pretended(setting.stack.bucket, setting.files[:2], "first")])
    for number in range(rounds):
        for kind, each in both.items():
            samples[kind].append(each.handle([pretended(setting.stack.bucket, setting.files, f"pretended-{number}")]))
    return samples


def _fill_up(setting: Setting, both: Mapping[str, WorkerProcess]) -> None:
    """Up to the number of images after which memory is compared."""
    for each in both.values():
        while (left := setting.images_before_memory - each.handled) > 0:
            each.handle([upload(setting.stack, setting.files[:left], f"further-{each.handled}")])


def _rate_rows(
    through: Mapping[str, Sequence[Sample]], without: Mapping[str, Sequence[Sample]], cores: int
) -> list[Row]:
    ours, keras = ([sample.rate for sample in through[kind]] for kind in KINDS)
    ours_alone, keras_alone = ([sample.rate for sample in without[kind]] for kind in KINDS)
    busy = median(s.cpu_seconds / s.seconds / cores for s in without["ours"])
    unit = "images/s"
    return [
        more_is_better("end to end, through the HTTP emulator", ours, keras, unit, times=8),
        more_is_better("end to end, the emulator's time left out", ours_alone, keras_alone, unit, times=10),
        at_least("cores busy meanwhile", busy * 100, "%", 90),
    ]
