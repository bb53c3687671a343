"""From nothing to the first record: a fresh process, the handler's import, one upload's record written."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.side_by_side.cloud import upload
from benchmarks.side_by_side.rows import Row, less_is_better
from benchmarks.side_by_side.worker import KINDS, worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from infra.stack import Stack


def cold_start(
    stack: Stack, environment: Mapping[str, str], file: Path, log: Path, pairs: int
) -> tuple[Row, dict[str, dict[str, float]]]:
    """The row, and each kind's median milliseconds by part.

    Every pair follows one that is not counted, which leaves bytecode and files in the page cache for both.
    """
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for number in range(pairs + 1):
        for kind in KINDS:
            event = upload(stack, [file], f"cold-{kind}-{number}")
            with worker(kind, environment, log) as fresh:
                fresh.answer()
                fresh.handle([event])
                if number:
                    seconds[kind].append(fresh.seconds_since_start())
            if number:
                with worker(kind, environment, log, option="parts") as apart:
                    taken[kind].append(apart.answer())
    row = less_is_better("cold start to the first record", seconds["ours"], seconds["keras"], "s", times=8)
    return row, {
        kind: {part: round(median(one[part] for one in taken[kind]), 1) for part in taken[kind][0]} for kind in KINDS
    }
