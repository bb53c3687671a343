"""The tables of docs/cost.md and docs/capacity.md, and a line of the README: `<!-- cost:NAME -->` to `<!-- end -->`.

    python -m benchmarks.cost

rewrites the documents from the measurements, the prices and the template; a test fails when they differ.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from benchmarks.cost import bill, capacity, facts
from benchmarks.side_by_side.documents import ROOT, markdown
from handler.store.record import SHARDS
from infra.prices import PRICED_ON, PRICES, REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DOCUMENTS = tuple(ROOT / name for name in ("docs/cost.md", "docs/capacity.md", "README.md"))
_PLACE = re.compile(r"<!-- cost:(?P<name>[a-z0-9-]+) -->\n.*?<!-- end -->", re.DOTALL)

MONTHS = (4_500, 300_000, 3_000_000)
"""Images a month: a clinic with 150 a day, 10,000 a day, 100,000 a day."""
SHARD_CHOICES = (SHARDS, 4 * SHARDS)
RATES = (1000, 2000, 3000, 5000, 10_000)
LIKELY = 0.05


def refresh() -> None:
    """Rewrites the documents."""
    for document in DOCUMENTS:
        document.write_text(refreshed(document.read_text(encoding="utf-8")), encoding="utf-8")


def refreshed(text: str) -> str:
    """`text` with every table computed anew. Raises KeyError for a place that no table fills."""

    def filled(place: re.Match[str]) -> str:
        return f"<!-- cost:{place['name']} -->\n{TABLES[place['name']]()}\n<!-- end -->"

    return _PLACE.sub(filled, text)


def million() -> str:
    """The whole bill by processor, slowest first."""
    rest, puts = bill.total(bill.the_rest()), bill.uploads().dollars
    rows = []
    for processor in facts.processors():
        own = bill.lambda_seconds(processor).dollars
        how = "measured" if processor.measured else "computed, see below"
        dollars = [_dollars(value) for value in (own, rest, own + rest, own + rest + puts)]
        rows.append([processor.name, f"{processor.seconds:.3f} s", how, *dollars])
    head = ["processor", "an image", "", "Lambda's seconds", "everything else", "together", "with the uploader's PUTs"]
    return markdown(head, "lrlrrrr", rows)


def summary() -> str:
    """The README's line."""
    rest, puts = bill.total(bill.the_rest()), bill.uploads().dollars
    slow, fast = (_dollars(bill.lambda_seconds(facts.shipped()[end]).dollars + rest) for end in (0, -1))
    text = (
        f"- **Cost**, computed, never billed: {slow} for a million images on an old processor with AVX2 only, {fast} "
        f"with 8-bit multiply-add, all services included; {_dollars(puts)} more for the uploader's PUTs; "
        f"{_dollars(bill.total(bill.fixed()))} a month without any image ([bill](docs/cost.md))."
    )
    return textwrap.fill(text, 120, subsequent_indent="  ", break_on_hyphens=False)


def machines() -> str:
    """Where and when the measurements were made."""
    lines = []
    for what, result in (
        ("The first", facts.measured("former")),
        ("The third", facts.measured("avx2")),
        ("The last", facts.measured("vnni")),
    ):
        machine = result["machine"]
        hidden = f", with {', '.join(machine['hidden'])} hidden" if "hidden" in machine else ""
        lines.append(
            f"{what}: {machine['processor']} ({', '.join(machine['vector_units'])}{hidden}), "
            f"{machine['when'][:10]}; programs that wanted one of {machine['cores']} cores at the end: "
            f"{machine['load_average_at_end']:g}."
        )
    counted = facts.units()
    lines.append(f"Counted: {counted['images']} images, records of schema {counted['schema']}.")
    return "\n".join(lines)


def positions(lines: Iterable[bill.Line], total: str = "together") -> str:
    """A table of positions with their sum; without a sum if `total` is empty."""
    held = list(lines)
    rows = [
        [line.what, line.how, _amount(line.amount), PRICES[line.name].unit, _dollars(line.dollars)] for line in held
    ]
    if total:
        rows.append([f"**{total}**", "", "", "", f"**{_dollars(bill.total(held))}**"])
    return markdown(["position", "how much of it", "amount", "unit", "dollars"], "llrlr", rows)


def months() -> str:
    """A month of fixed costs and so many images, on the slowest and the fastest processor."""
    ends = facts.shipped()[0], facts.shipped()[-1]
    rows = []
    for images in MONTHS:
        low, high = sorted(bill.month(images, processor) for processor in ends)
        rows.append([f"{images:,}", f"{images / facts.MONTH_DAYS:,.0f}", f"{_dollars(low)} to {_dollars(high)}"])
    return markdown(["images a month", "a day", "a month"], "rrr", rows)


def architectures() -> str:
    """Lambda's seconds at the price of both architectures, for the same seconds."""
    rows = []
    for processor in facts.shipped():
        own = [bill.lambda_seconds(processor, name).dollars for name in ("lambda_gb_second", "lambda_gb_second_arm64")]
        rows.append([processor.name, *(_dollars(value) for value in own)])
    return markdown(["seconds of", "x86", "arm64, if it took as long"], "lrr", rows)


def starts() -> str:
    """What a thousand cold starts cost, and how many of them cost as much as a restore."""
    restore = next(line for line in bill.options() if line.name == "snapstart_restored_gb").dollars
    rows = [
        [line.what, line.how, _dollars(line.dollars), f"{restore / line.dollars:.1f}"] for line in bill.cold_starts()
    ]
    return markdown(["processor", "cold start", "1,000 of them", "cold starts for one restore"], "llrr", rows)


def price_table() -> str:
    """The table of prices."""
    rows = [
        [f"[{price.service}]({price.source})", price.unit, f"${price.dollars:.10f}".rstrip("0").rstrip(".")]
        for price in PRICES.values()
    ]
    head = f"{REGION}, {PRICED_ON}, first tier, without free allowance:\n\n"
    return head + markdown(["service", "unit", "dollars"], "llr", rows)


def limits() -> str:
    """Every limit on the way to the target, with the rate that its default allows."""
    rows = [
        [
            limit.what,
            limit.arithmetic,
            _amount(limit.needed),
            limit.default,
            "" if limit.rate is None else f"{_rounded(limit.rate):,.0f}/s",
            limit.beyond,
        ]
        for limit in capacity.limits()
    ]
    head = ["limit", "arithmetic", f"at {capacity.TARGET:,}/s", "default", "allows", "beyond it"]
    return markdown(head, "llrlrl", rows)


def assumptions() -> str:
    """The sentence above the limits."""
    counted, batch = facts.units(), facts.parameter("BatchSize")
    return (
        f"*t* = {capacity.processor().seconds:.3f} s (the second row of [cost](cost.md)), batches of {batch:.0f}, a "
        f"window of {facts.parameter('BatchWindowSeconds'):.0f} s, records of at most "
        f"{counted['largest_record_bytes']:,} bytes (schema {counted['schema']}), {_share(facts.referred())} of images "
        f"referred, {counted['read_units']:g} read units an image."
    )


def cold_table() -> str:
    """What a table without any history takes."""
    return markdown(
        ["a new table", "units an image", "units a second", "images a second"],
        "lrrr",
        [
            _taken("writes of records", capacity.NEW_TABLE_WRITES, capacity.table_writes()),
            _taken("writes of `by_label`", capacity.NEW_TABLE_WRITES, 1),
            _taken("writes of `by_problem`", capacity.NEW_TABLE_WRITES, facts.referred()),
            _taken("reads", capacity.NEW_TABLE_READS, facts.units()["read_units"]),
            ["**the least of them**", "", "", f"**{capacity.cold_table_rate():,.0f}**"],
        ],
    )


def _taken(what: str, limit: float, units: float) -> list[str]:
    return [what, f"{units:g}", f"{limit:,}", f"{limit / units:,.0f}"]


def shards() -> str:
    """How likely a partition of an index is too hot."""
    head = ["images/s of one label", *(f"{p} partitions, {s} shards" for p in _partitions() for s in SHARD_CHOICES)]
    rows = [
        [f"{rate:,}", *(_percent(capacity.too_hot(rate, s, p)) for p in _partitions() for s in SHARD_CHOICES)]
        for rate in RATES
    ]
    likely = [f"{capacity.sure_rate(s, p, LIKELY):,}" for p in _partitions() for s in SHARD_CHOICES]
    rows.append([f"**the most with at most {_share(LIKELY)}**", *(f"**{value}**" for value in likely)])
    return markdown(head, "r" * len(head), rows)


def _partitions() -> tuple[int, ...]:
    """Of a new index, of one that has just enough for the target, and of one with plenty."""
    return (
        capacity.NEW_PARTITIONS,
        capacity.partitions_for(capacity.TARGET),
        capacity.TABLE_WRITES // capacity.PARTITION_WRITES,
    )


def queries() -> str:
    """What a question costs the reader, by shards."""
    rows = [
        [
            f"{count}",
            f"{count:,}",
            f"{count * 7 * len(_labels()):,}",
            f"${count * 0.5 * PRICES['dynamodb_read'].dollars * 1e6:.2f}",
        ]
        for count in SHARD_CHOICES
    ]
    return markdown(
        [
            "shards",
            "queries for one label and day",
            "for all labels and a week",
            "a million questions for one label and day",
        ],
        "rrrr",
        rows,
    )


def _labels() -> tuple[str, ...]:
    from model_layer import Bundle  # noqa: PLC0415

    return tuple(label.code for label in Bundle.read(ROOT / "models" / "vgg16-skin").labels)


def bulk() -> str:
    """How long the bulk lane takes at its defaults."""
    workers, kept = facts.parameter("BulkMaximumConcurrency"), facts.retention_days("BulkQueue")
    rows = []
    for processor in facts.processors():
        rate = workers / processor.seconds
        rows.append(
            [
                processor.name,
                f"{rate:,.0f}/s",
                f"{1e6 / rate / 3600:,.1f} h",
                f"{capacity.BACKFILL_WAITING / rate / 60:,.0f} min",
                f"{rate * 86_400 * kept / 1e6:,.0f} million",
            ]
        )
    head = [
        "processor",
        f"{workers:.0f} workers",
        "a million images",
        f"the oldest of {capacity.BACKFILL_WAITING:,} that wait",
        f"done in the {kept} days that the queue keeps a message",
    ]
    return markdown(head, "lrrrr", rows)


TABLES: dict[str, Callable[[], str]] = {
    "million": million,
    "summary": summary,
    "machines": machines,
    "rest": lambda: positions([*bill.the_rest(), bill.uploads()], "together, with the uploader's PUTs"),
    "storage": lambda: positions(bill.storage()),
    "fixed": lambda: positions(bill.fixed()),
    "months": months,
    "options": lambda: positions(bill.options(), ""),
    "starts": starts,
    "arm64": architectures,
    "prices": price_table,
    "limits": limits,
    "assumptions": assumptions,
    "cold-table": cold_table,
    "shards": shards,
    "queries": queries,
    "bulk": bulk,
}


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if value >= 0.1 else f"${value:.3f}"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _percent(share: float) -> str:
    if share in (0, 1) or 0.01 <= share < 0.995:
        return _share(share)
    return "under 1 %" if share < 0.5 else "over 99 %"


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"
