"""A row of the table: two medians, their ratio with its spread, and whether the target holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `bench.json`."""

    what: str
    ours: float
    baseline: float | None
    """None where the target is absolute."""
    unit: str
    ratio: float | None
    """How many times better ours is than the baseline, or ours as a share of it; `target` says which."""
    target: str
    holds: bool
    spread: tuple[float, float] | None = None
    """Lowest and highest ratio of the pairs."""
    pairs: int = 1
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it, at four significant digits: more is noise."""
        fields = asdict(self)
        for name in ("ours", "baseline", "ratio"):
            fields[name] = _short(fields[name])
        fields["spread"] = [_short(x) for x in self.spread] if self.spread else None
        return fields


def less_is_better(what: str, ours: Sequence[float], baseline: Sequence[float], unit: str, *, times: float) -> Row:
    """A row for costs (seconds, megabytes), taken in pairs: ours should be at most 1/`times` of the baseline."""
    ratios = [theirs / own for own, theirs in zip(ours, baseline, strict=True)]
    return _paired(what, median(ours), median(baseline), unit, ratios, times)


def more_is_better(what: str, ours: Sequence[float], baseline: Sequence[float], unit: str, *, times: float) -> Row:
    """A row for rates, taken in pairs: ours should be at least `times` the baseline."""
    ratios = [own / theirs for own, theirs in zip(ours, baseline, strict=True)]
    return _paired(what, median(ours), median(baseline), unit, ratios, times)


def _paired(what: str, ours: float, baseline: float, unit: str, ratios: list[float], times: float) -> Row:
    ratio, spread = median(ratios), (min(ratios), max(ratios))
    target = f"at least {times:g} times better"
    return Row(what, ours, baseline, unit, ratio, target, ratio >= times, spread, len(ratios))


def at_most(what: str, value: float, unit: str, limit: float, *, note: str = "") -> Row:
    """A row without a baseline."""
    return Row(what, value, None, unit, None, f"at most {limit:g} {unit}", value <= limit, note=note)


def at_least(what: str, value: float, unit: str, limit: float, *, note: str = "") -> Row:
    """A row without a baseline."""
    return Row(what, value, None, unit, None, f"at least {limit:g} {unit}", value >= limit, note=note)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
