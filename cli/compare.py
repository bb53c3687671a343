"""Two versions of the model on the records that both left for the same uploads.

The uploads are the same under both versions, so the shares are paired. The interval of their change is Newcombe's for
paired proportions (Newcombe 1998, Statistics in Medicine 17:2635, method 10), that of the agreement is Wilson's.
Several photographs of one lesion count as independent, which makes intervals somewhat too narrow.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from cli.deployed import aws_calls, find
from cli.output import Form, Progress, count, percent, say, write_rows
from cli.results import labels_of
from handler.store.queries import entries
from handler.store.record import BY_LABEL, BY_PROBLEM, NOTICE, object_version
from handler.store.table import look_up, plain
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from cli.deployed import Account

Z = 1.959964  # standard deviations of a 95 % interval
LABELLED = ("classified", "referred")
TOGETHER = 1000
ATTRIBUTES = ("image", "version", "status", "label", "confidence", "triage")
COLUMNS: dict[str, Any] = {
    "image": None, "status_a": None, "label_a": None, "confidence_a": percent, "triage_a": None,
    "status_b": None, "label_b": None, "confidence_b": percent, "triage_b": None,
}  # fmt: skip


class ComparisonError(UserError):
    """There is nothing to compare."""


Entry = dict[str, Any]
"""A record in short: `ATTRIBUTES`."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One upload under both versions."""

    a: Entry
    b: Entry

    @property
    def labelled(self) -> bool:
        """Whether both gave a label."""
        return self.a["status"] in LABELLED and self.b["status"] in LABELLED

    @property
    def differs(self) -> bool:
        """Whether a person would be told something else."""
        return any(self.a.get(name) != self.b.get(name) for name in ("status", "label", "triage"))

    def row(self) -> dict[str, Any]:
        """Both answers in one line."""
        sides = (("a", self.a), ("b", self.b))
        fields = ("status", "label", "confidence", "triage")
        told = {f"{name}_{side}": entry.get(name) for side, entry in sides for name in fields}
        return {"image": self.a["image"], "object_version": object_version(self.a["version"]), **told}


def compare(
    model_a: str,
    model_b: str,
    days: Sequence[date],
    stack: str,
    account: Account,
    bundle: Path | None,
    limit: int,
    form: Form,
) -> int:
    """Prints the comparison; returns 0.

    Raises:
        ComparisonError: no upload of these days has a record of both versions.
    """
    with aws_calls():
        deployed = find(stack, account)
        dynamodb = deployed.client("dynamodb")
        seen: Counter[str] = Counter()
        with Progress("comparing", None) as progress:
            answered = _answered(dynamodb, deployed.table, model_a, days, labels_of(bundle, ()), seen)
            pairs = []
            alone = 0
            while group := list(islice(answered, TOGETHER)):
                found = _pairs(dynamodb, deployed.table, group, model_a, model_b)
                alone += len(group) - len(found)
                pairs += found
                progress.advance(len(group))
    if not pairs:
        known = ", ".join(sorted(seen)) or "none"
        missing = f"no upload of them has a record of {model_b} too" if alone else f"no record of them is of {model_a}"
        raise ComparisonError(f"On these days {missing}; versions with records: {known}.")
    different = [pair for pair in pairs if pair.differs]
    if form is Form.TABLE:
        sys.stdout.write(report(model_a, model_b, pairs, alone))
    shown = different[: limit or None]
    if shown:
        write_rows((pair.row() for pair in shown), COLUMNS, form)
    if len(shown) < len(different):
        say(f"{len(shown)} of {count(len(different), 'image')} that differ are shown; --limit 0 shows all.")
    return 0


def report(model_a: str, model_b: str, pairs: Sequence[Pair], alone: int) -> str:
    """The figures, in words."""
    labelled = [pair for pair in pairs if pair.labelled]
    lines = [
        f"A is {model_a}, B is {model_b}.",
        f"{count(len(pairs), 'upload')} with records of both; {len(labelled):,} have a label under both.",
    ]
    if alone:
        lines.append(f"{count(alone, 'upload')} of A without a record of B: left out.")
    if labelled:
        same = sum(pair.a["label"] == pair.b["label"] for pair in labelled)
        low, high = wilson(same, len(labelled))
        lines += [
            f"Same label: {percent(same / len(labelled))} ({percent(low)} to {percent(high)}).",
            _change("Referred", [(_is(p.a, "status", "referred"), _is(p.b, "status", "referred")) for p in labelled]),
            _change("Urgent", [(_is(p.a, "triage", "urgent"), _is(p.b, "triage", "urgent")) for p in labelled]),
            "",
            *_matrix(labelled),
        ]
    different = count(sum(pair.differs for pair in pairs), "image")
    lines += ["", f"{different} with another status, label or triage. {NOTICE}", ""]
    return "\n".join(lines) + "\n"


def _is(entry: Entry, name: str, value: str) -> bool:
    return bool(entry.get(name) == value)


def _change(what: str, both: Sequence[tuple[bool, bool]]) -> str:
    of_a, of_b = sum(a for a, _ in both) / len(both), sum(b for _, b in both) / len(both)
    low, high = paired_change(both)
    points = f"{100 * (of_b - of_a):+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{what}: {percent(of_a)} -> {percent(of_b)}, {points}."


def _matrix(pairs: Sequence[Pair]) -> list[str]:
    """How often each label of A (rows) became which label of B (columns)."""
    cells = Counter((str(pair.a["label"]), str(pair.b["label"])) for pair in pairs)
    labels = sorted({label for cell in cells for label in cell})
    width = max(6, *(len(label) + 1 for label in labels), *(len(f"{number:,}") + 1 for number in cells.values()))
    lines = [f"{'A / B':<{width}}" + "".join(f"{label:>{width}}" for label in labels)]
    lines += [f"{a:<{width}}" + "".join(f"{cells[a, b] or '.':>{width}}" for b in labels) for a in labels]
    return lines


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    share, z2 = hits / total, Z * Z / total
    centre = share + z2 / 2
    half = Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total))
    return max(0.0, (centre - half) / (1 + z2)), min(1.0, (centre + half) / (1 + z2))


def paired_change(both: Sequence[tuple[bool, bool]]) -> tuple[float, float]:
    """The 95 % interval of share B minus share A, where each pair is one subject under A and under B."""
    n = len(both)
    neither, only_b, only_a, of_both = (
        sum(pair == kind for pair in both) for kind in ((False, False), (False, True), (True, False), (True, True))
    )
    hits_b, hits_a = of_both + only_b, of_both + only_a
    share_b, share_a = hits_b / n, hits_a / n
    (low_b, high_b), (low_a, high_a) = wilson(hits_b, n), wilson(hits_a, n)
    margins = hits_a * (n - hits_a) * hits_b * (n - hits_b)
    product = of_both * neither - only_a * only_b
    corrected = max(0.0, product - n / 2) if product > 0 else product  # the paper's correction for continuity
    correlation = corrected / math.sqrt(margins) if margins else 0.0

    def distance(to_b: float, to_a: float) -> float:
        return math.sqrt(max(0.0, to_b**2 - 2 * correlation * to_b * to_a + to_a**2))

    change = share_b - share_a
    return change - distance(share_b - low_b, high_a - share_a), change + distance(high_b - share_b, share_a - low_a)


def _answered(
    dynamodb: Any, table: str, model: str, days: Sequence[date], labels: Sequence[str], seen: Counter[str]
) -> Iterator[tuple[str, str]]:
    """Image and object version of each upload that `model` answered; counts the entries of each version in `seen`."""
    given: set[tuple[str, str]] = set()
    both = ((BY_LABEL, labels), (BY_PROBLEM, ("referred", "rejected")))
    for index, subjects in both:
        for entry in entries(dynamodb, table, index, subjects, days, every_model=True):
            version, _, of_model = entry["version"].rpartition("#")
            seen[of_model] += 1
            if of_model == model and (entry["image"], version) not in given:
                given.add((entry["image"], version))
                yield entry["image"], version


def _pairs(dynamodb: Any, table: str, uploads: Sequence[tuple[str, str]], model_a: str, model_b: str) -> list[Pair]:
    """Those of `uploads` that have a record under both versions."""
    keys = [(image, f"{version}#{model}") for image, version in uploads for model in (model_a, model_b)]
    found = {(one["image"], one["version"]): one for one in map(plain, look_up(dynamodb, table, keys, ATTRIBUTES))}
    both = ((found.get(a), found.get(b)) for a, b in zip(keys[::2], keys[1::2], strict=True))
    return [Pair(a, b) for a, b in both if a and b]
