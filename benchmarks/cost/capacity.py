"""Images a second that each part takes, from AWS's default limits and what an image takes of them.

The limits are AWS's defaults of 2026-11 in us-east-1; docs/capacity.md names the pages.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from math import ceil

from benchmarks.cost import facts
from handler.store.record import SHARDS

TARGET = 10_000
"""Images a second that the page is about."""

ACCOUNT_CONCURRENCY = 1000
EVENT_SOURCE_CONCURRENCY, EVENT_SOURCE_GROWTH = 1250, 300
HIGHEST_MAXIMUM_CONCURRENCY = 1000
NEW_EXECUTIONS, NEW_EXECUTIONS_SECONDS = 1000, 10
IN_FLIGHT = 120_000
S3_PUTS, S3_GETS = 3500, 5500  # a prefix and second
PARTITION_WRITES, PARTITION_READS = 1000, 3000
NEW_TABLE_WRITES, NEW_TABLE_READS = 4000, 12_000  # of a table, and of each index, that never had traffic
TABLE_WRITES, TABLE_READS = 40_000, 40_000
PUT_LOG_EVENTS = 5000
NEW_PARTITIONS = NEW_TABLE_WRITES // PARTITION_WRITES
BACKFILL_WAITING = 100_000
"""What `dermbatch backfill` lets wait, see cli.app."""


@dataclass(frozen=True)
class Limit:
    """One limit: what it is, how much of it `TARGET` needs, what there is, and the images a second that this gives."""

    what: str
    arithmetic: str
    needed: float
    default: str
    rate: float | None
    beyond: str


def processor() -> facts.Processor:
    """The slowest with the shipped network: Lambda promises nothing faster."""
    return facts.shipped()[0]


def table_writes() -> float:
    """Write units of the table itself for an image, as the largest record takes them; indexes have their own."""
    return float(ceil(facts.units()["largest_record_bytes"] / 1024))


def cold_table_rate() -> float:
    """Images a second that a table without any history takes, and its first index with it."""
    reads = float(facts.units()["read_units"])
    return min(NEW_TABLE_WRITES / table_writes(), NEW_TABLE_WRITES / 1.0, NEW_TABLE_READS / reads)


def limits() -> list[Limit]:
    """From the worker to the log."""
    t, batch, window = processor().seconds, facts.parameter("BatchSize"), facts.parameter("BatchWindowSeconds")
    live = facts.parameter("MaximumConcurrency")
    writes, reads = table_writes(), facts.units()["read_units"]
    every_write = facts.weighted(facts.units()["write_units"]) + 1 + facts.referred()
    log = facts.units()["log_bytes"] + facts.PLATFORM_LOG_BYTES / batch
    shard = 1 / SHARDS
    return [
        Limit("workers of the live lane", "rate x *t*", TARGET * t, f"`MaximumConcurrency` {live:.0f}", live / t,
              f"the parameter, up to {HIGHEST_MAXIMUM_CONCURRENCY:,}: {_rate(HIGHEST_MAXIMUM_CONCURRENCY / t)}"),
        Limit("workers of the bulk lane", "rate x *t*", TARGET * t,
              f"`BulkMaximumConcurrency` {facts.parameter('BulkMaximumConcurrency'):.0f}",
              facts.parameter("BulkMaximumConcurrency") / t, "the parameter"),
        Limit("Lambda, executions of the account", "rate x *t*", TARGET * t,
              f"{ACCOUNT_CONCURRENCY:,} (new accounts less)", ACCOUNT_CONCURRENCY / t, "ask AWS for more"),
        Limit("event source, standard mode", "rate x *t*", TARGET * t,
              f"{EVENT_SOURCE_CONCURRENCY:,}, {EVENT_SOURCE_GROWTH} more a minute",
              EVENT_SOURCE_CONCURRENCY / t, "provisioned mode instead of `ScalingConfig`"),
        Limit("Lambda, new executions", "at once", TARGET * t,
              f"{NEW_EXECUTIONS:,} in {NEW_EXECUTIONS_SECONDS} s and function", None,
              f"{TARGET * t / NEW_EXECUTIONS * NEW_EXECUTIONS_SECONDS:,.0f} s until all run"),
        Limit("SQS, messages in flight", "rate x (window + batch x *t*)", TARGET * (window + batch * t),
              f"{IN_FLIGHT:,} for a queue", IN_FLIGHT / (window + batch * t), "smaller batches; ask AWS for more"),
        Limit("S3, PUTs", "rate", TARGET, f"{S3_PUTS:,}/s for a prefix", S3_PUTS,
              f"{ceil(TARGET / S3_PUTS)} prefixes from the first day: `<site>/<date>/`"),
        Limit("S3, GETs", "rate", TARGET, f"{S3_GETS:,}/s for a prefix", S3_GETS, "the same"),
        Limit("DynamoDB, a new table: writes", f"rate x {writes:.0f}", TARGET * writes,
              f"{NEW_TABLE_WRITES:,}/s; each index has as much of its own", NEW_TABLE_WRITES / writes,
              "twice the former peak is taken; or warm throughput beforehand"),
        Limit("DynamoDB, a new table: reads", f"rate x {reads:g}", TARGET * reads, f"{NEW_TABLE_READS:,}/s",
              NEW_TABLE_READS / reads, "the same"),
        Limit("DynamoDB, any table: writes, indexes included", f"rate x {every_write:.2f}", TARGET * every_write,
              f"{TABLE_WRITES:,}/s", TABLE_WRITES / every_write, "ask AWS for more"),
        Limit("DynamoDB, any table: reads", f"rate x {reads:g}", TARGET * reads, f"{TABLE_READS:,}/s",
              TABLE_READS / reads, "ask AWS for more"),
        Limit("DynamoDB, one shard of an index", f"one label, a day, {SHARDS} shards", TARGET * shard,
              f"{PARTITION_WRITES:,}/s for a partition", PARTITION_WRITES / shard,
              "see below: shards share partitions"),
        Limit("CloudWatch Logs", f"rate x {log:.0f} bytes", TARGET * log, f"{PUT_LOG_EVENTS:,} PutLogEvents/s",
              None, "`LogLevel=WARNING` drops the line of each image, and keeps the metrics"),
    ]  # fmt: skip


def _rate(rate: float) -> str:
    return f"{float(f'{rate:.2g}'):,.0f}/s"


def too_hot(rate: float, shards: int, partitions: int) -> float:
    """Probability that some partition gets more than it takes: `rate` writes a second, all of one label and day.

    Each shard is one key, which lies on any of the partitions with the same chance, whatever the others do. A partition
    is too hot when more shards lie on it than it can take.
    """
    most = math.floor(PARTITION_WRITES / (rate / shards) + 1e-9)
    return 1 - _all_hold_at_most(most, shards, partitions)


@functools.cache
def _all_hold_at_most(most: int, shards: int, partitions: int) -> float:
    """Probability that none of `partitions` holds more than `most` of `shards`.

    One partition holds k of n with the binomial's probability; the other n - k lie on the others in the same way.
    """
    if most >= shards:
        return 1.0
    if partitions == 1:
        return 0.0
    share = 1 / partitions
    return math.fsum(
        math.comb(shards, k)
        * share**k
        * (1 - share) ** (shards - k)
        * _all_hold_at_most(most, shards - k, partitions - 1)
        for k in range(most + 1)
    )


def sure_rate(shards: int, partitions: int, chance: float = 0.5) -> int:
    """The highest rate, in hundreds, at which a partition is too hot with at most this probability."""
    rate = 100
    while too_hot(rate + 100, shards, partitions) <= chance:
        rate += 100
    return rate


def partitions_for(rate: float) -> int:
    """Partitions that an index with `rate` writes a second has at least."""
    return max(NEW_PARTITIONS, ceil(rate / PARTITION_WRITES))
