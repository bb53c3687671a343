"""Measurements of whole workers: cold start, throughput, memory, and the cost of an image under load."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.side_by_side.process import KINDS, Sample, WorkerProcess, worker
from benchmarks.side_by_side.rows import Row, at_least, at_most, less_is_better, more_is_better
from benchmarks.side_by_side.uploads import BATCH, pretended, upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack

FEW, MANY = 100, 10_000
"""Queued images whose cost is compared."""
MEMORY_FROM, MEMORY_TO = 200, 5_000
TURNS = 8


@dataclass(frozen=True)
class Setting:
    """What all measurements share."""

    stack: Stack
    environment: Mapping[str, str]
    files: Sequence[Path]
    log: Path
    cores: int
    images_before_memory: int = 200
    """Images that each worker has handled when its peak memory is read."""

    @contextmanager
    def both(self, cores: int) -> Iterator[dict[str, WorkerProcess]]:
        """Both workers, imported, on `cores` cores."""
        with ExitStack() as stack:
            started = {
                kind: stack.enter_context(worker(kind, self.environment, self.log, cores=cores)) for kind in KINDS
            }
            for each in started.values():
                each.answer()
            yield started


def cold_start(setting: Setting, pairs: int) -> tuple[Row, dict[str, dict[str, float]]]:
    """From nothing to the first record; and each kind's median milliseconds by part.

    The first pair is not counted: it leaves bytecode and files in the page cache for both.
    """
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for number in range(pairs + 1):
        for kind in KINDS:
            event = upload(setting.stack, [setting.files[1]], f"cold-{kind}-{number}")
            with worker(kind, setting.environment, setting.log) as fresh:
                fresh.answer()
                fresh.handle([event])
                seconds[kind] += [fresh.seconds_since_start()] if number else []
            if number:
                with worker(kind, setting.environment, setting.log, option="parts") as apart:
                    taken[kind].append(apart.answer())
    row = less_is_better("cold start to the first record", seconds["ours"], seconds["keras"], "s", times=8)
    parts = {k: {part: round(median(one[part] for one in own), 1) for part in own[0]} for k, own in taken.items()}
    return row, parts


@dataclass
class Throughput:
    """The results of `throughput`."""

    rows: list[Row]
    seconds_per_image: dict[tuple[str, int], float]
    """By kind and cores, without the emulator's time; dollars are computed from it."""
    cpu_ms_per_image: dict[str, float]


def throughput(setting: Setting, rounds: int) -> Throughput:
    """Images a second, cores busy and peak memory of two workers that take turns, after a round that is not counted.

    Each round hands the same uploads to one worker, then to the other: through the HTTP emulator, then without it, then
    (fresh processes) on one core.
    """
    with setting.both(setting.cores) as both:
        through: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
        for number in range(rounds + 1):
            for kind, each in both.items():
                sample = each.handle([upload(setting.stack, setting.files, f"round-{kind}-{number}")])
                through[kind] += [sample] if number else []
        for each in both.values():
            while (left := setting.images_before_memory - each.handled) > 0:
                each.handle([upload(setting.stack, setting.files[:left], f"further-{each.handled}")])
        peaks = {kind: each.memory()["peak"] for kind, each in both.items()}  # before the fakes hold all objects
        without = _without_emulator(setting, both, rounds)
    with setting.both(1) as both:
        on_one_core = _without_emulator(setting, both, max(1, rounds - 2))
    seconds = {(kind, 1): median(1 / sample.rate for sample in on_one_core[kind]) for kind in KINDS}
    if setting.cores > 1:
        seconds |= {(kind, setting.cores): median(1 / sample.rate for sample in without[kind]) for kind in KINDS}
    cpu = {kind: median(s.cpu_seconds / s.images * 1000 for s in without[kind]) for kind in KINDS}
    busy = median(s.cpu_seconds / s.seconds / setting.cores for s in without["ours"])
    memory = f"peak memory after {setting.images_before_memory} images"
    rows = [
        _rates("end to end, through the HTTP emulator", through, times=8),
        _rates("end to end, the emulator's time left out", without, times=10),
        at_least("cores busy meanwhile", busy * 100, "%", 90),
        less_is_better(memory, [peaks["ours"]], [peaks["keras"]], "MB", times=4),
    ]
    return Throughput(rows, seconds, cpu)


def _rates(what: str, samples: Mapping[str, Sequence[Sample]], *, times: float) -> Row:
    ours, keras = ([sample.rate for sample in samples[kind]] for kind in KINDS)
    return more_is_better(what, ours, keras, "images/s", times=times)


def _without_emulator(setting: Setting, both: Mapping[str, WorkerProcess], rounds: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {kind: [] for kind in both}
    for each in both.values():
        each.ask(fakes=str(setting.files[0].parent))
        each.handle([pretended(setting.stack.bucket, setting.files[:2], "first")])
    for number in range(rounds):
        for kind, each in both.items():
            samples[kind].append(each.handle([pretended(setting.stack.bucket, setting.files, f"pretended-{number}")]))
    return samples


def load(setting: Setting, *, many: int = MANY, thorough: bool = False) -> list[Row]:
    """Whether an image costs the same when `many` wait, and whether memory grows.

    The cost is processor time, which other programs hardly change. Two workers take turns: a fresh one that handles 100
    uploads, and one that goes on to `many`. The network's own run, whose cost is constant and would hide growth of the
    rest, is left out; `thorough` measures memory with it, which takes four minutes more.
    """
    few: list[float] = []
    queued: list[float] = []
    resident: dict[int, float] = {}
    marks = (min(MEMORY_FROM, many // 4), min(MEMORY_TO, many))
    turns = max(1, min(TURNS, many // FEW // 2))
    step = many // turns
    with _prepared(setting, constant=True) as long:
        for turn in range(turns):
            with _prepared(setting, constant=True) as fresh:
                few.append(_cpu_ms([_handle(setting, fresh, min(FEW, step), f"few-{turn}")]))
            done, samples = turn * step, list[Sample]()
            for upto in sorted({*(m for m in marks if done < m <= done + step), done + step}):
                samples.append(_handle(setting, long, upto - done, f"many-{turn}-{upto}"))
                done = upto
                if upto in marks:
                    resident[upto] = long.memory()["resident"]
            queued.append(_cpu_ms(samples))
    ratios = [long_ / short for long_, short in zip(queued, few, strict=True)]
    note = "without the network's own run"
    rows = [
        Row(
            what=f"processor time an image at {many:,} queued against {FEW}",
            ours=median(queued),
            baseline=median(few),
            unit="ms",
            ratio=median(ratios),
            target="within 5 %",
            holds=median(ratios) <= 1.05,
            spread=(min(ratios), max(ratios)),
            pairs=turns,
            note=f"{note}; the baseline is ours at 100",
        ),
        _growth(resident[marks[0]], resident[marks[1]], marks, note),
    ]
    if thorough:
        marks = (MEMORY_FROM, MEMORY_TO)
        with _prepared(setting, constant=False) as long:
            _handle(setting, long, MEMORY_FROM, "thorough-first")
            before = long.memory()["resident"]
            _handle(setting, long, MEMORY_TO - MEMORY_FROM, "thorough")
            rows.append(_growth(before, long.memory()["resident"], marks, "with the network's run"))
    return rows


def _growth(before: float, after: float, marks: tuple[int, int], note: str) -> Row:
    return at_most(f"memory from image {marks[0]:,} to {marks[1]:,}", after - before, "MB", 20, note=note)


@contextmanager
def _prepared(setting: Setting, *, constant: bool) -> Iterator[WorkerProcess]:
    """Our worker without the emulator (and, if `constant`, the network), after a first batch."""
    with worker("ours", setting.environment, setting.log, cores=setting.cores) as ours:
        ours.answer()
        ours.ask(fakes=str(setting.files[0].parent))
        if constant:
            ours.ask(constant_network=True)
        _handle(setting, ours, BATCH, "first")
        yield ours


def _handle(setting: Setting, ours: WorkerProcess, count: int, prefix: str) -> Sample:
    """`count` small uploads in batches, all in one command; small ones, so that many fit into minutes."""
    small = [file for file in setting.files if "dermoscopy" in file.name][:8]
    events = []
    for start in range(0, count, BATCH):
        batch = [small[n % len(small)] for n in range(start, min(start + BATCH, count))]
        events.append(pretended(setting.stack.bucket, batch, f"{prefix}-{start}"))
    return ours.handle(events)


def _cpu_ms(samples: Sequence[Sample]) -> float:
    return sum(s.cpu_seconds for s in samples) / sum(s.images for s in samples) * 1000
