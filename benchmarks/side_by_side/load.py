"""Does an image cost the same when 10,000 wait? Does memory grow?

The cost is processor time, which other programs on the machine hardly change. Two workers take turns: a fresh one that
handles 100 uploads, and one that goes on to 10,000. The network's own run is left out (its cost is constant, and would
hide a growth of all the rest); `--thorough` leaves it in for memory, which takes four minutes more.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.side_by_side.cloud import pretended
from benchmarks.side_by_side.rows import Row, at_most
from benchmarks.side_by_side.uploads import BATCH
from benchmarks.side_by_side.worker import worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.side_by_side.throughput import Setting
    from benchmarks.side_by_side.worker import Sample, WorkerProcess

FEW, MANY = 100, 10_000
MEMORY_FROM, MEMORY_TO = 200, 5_000
TURNS = 8


def load(setting: Setting, *, many: int = MANY, thorough: bool = False) -> list[Row]:
    """The rows on cost and memory under load. Small uploads alone: more of them fit into the bench's minutes."""
    small = [file for file in setting.files if "dermoscopy" in file.name][:8]
    few: list[float] = []
    queued: list[float] = []
    resident: dict[int, float] = {}
    marks = (min(MEMORY_FROM, many // 4), min(MEMORY_TO, many))
    turns = max(1, min(TURNS, many // FEW // 2))
    with worker("ours", setting.environment, setting.log, cores=setting.cores) as long:
        _prepare(setting, long, small, constant=True)
        step = many // turns
        for turn in range(turns):
            with worker("ours", setting.environment, setting.log, cores=setting.cores) as fresh:
                _prepare(setting, fresh, small, constant=True)
                few.append(_cpu_ms(_handle(setting, fresh, small, min(FEW, step), f"few-{turn}")))
            done = turn * step
            samples = []
            for upto in sorted({*(m for m in marks if done < m <= done + step), done + step}):
                samples.append(_handle(setting, long, small, upto - done, f"many-{turn}-{upto}"))
                done = upto
                if upto in marks:
                    resident[upto] = long.memory()["resident"]
            queued.append(sum(s.cpu_seconds for s in samples) / sum(s.images for s in samples) * 1000)
    ratios = [long_ / short for long_, short in zip(queued, few, strict=True)]
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
            note="without the network's own run; the baseline is ours at 100",
        ),
        _growth(resident[marks[0]], resident[marks[1]], marks, "without the network's own run"),
    ]
    if thorough:
        rows.append(_thorough(setting, small))
    return rows


def _thorough(setting: Setting, files: Sequence[Path]) -> Row:
    with worker("ours", setting.environment, setting.log, cores=setting.cores) as long:
        _prepare(setting, long, files, constant=False)
        _handle(setting, long, files, MEMORY_FROM, "thorough-first")
        before = long.memory()["resident"]
        _handle(setting, long, files, MEMORY_TO - MEMORY_FROM, "thorough")
        after = long.memory()["resident"]
    return _growth(before, after, (MEMORY_FROM, MEMORY_TO), "with the network's run")


def _growth(before: float, after: float, marks: tuple[int, int], note: str) -> Row:
    return at_most(f"memory from image {marks[0]:,} to {marks[1]:,}", after - before, "MB", 20, note=note)


def _prepare(setting: Setting, worker_: WorkerProcess, files: Sequence[Path], *, constant: bool) -> None:
    """Leaves out what is not measured, and handles a batch for what only a first one costs."""
    worker_.answer()
    worker_.ask(fakes=str(files[0].parent))
    if constant:
        worker_.ask(constant_network=True)
    _handle(setting, worker_, files, BATCH, "first")


def _handle(setting: Setting, worker_: WorkerProcess, files: Sequence[Path], count: int, prefix: str) -> Sample:
    """`count` uploads in batches, all in one command."""
    events = []
    for start in range(0, count, BATCH):
        batch = [files[n % len(files)] for n in range(start, min(start + BATCH, count))]
        events.append(pretended(setting.stack.bucket, batch, f"{prefix}-{start}"))
    return worker_.handle(events)


def _cpu_ms(sample: Sample) -> float:
    return sample.cpu_seconds / sample.images * 1000
