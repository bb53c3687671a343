"""Dollars: of a million images, of a month of storage, of a month without any image, and of the options."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cost import facts
from handler.store import objects
from infra.prices import dollars

MILLION = 1_000_000


@dataclass(frozen=True)
class Line:
    """One position of the bill: `amount` units at the price `name`."""

    what: str
    amount: float
    name: str
    how: str
    """Where the amount comes from."""

    @property
    def dollars(self) -> float:
        return self.amount * dollars(self.name)


def gigabytes() -> float:
    """Of the worker's memory."""
    return facts.parameter("MemorySize") / 1024


def lambda_seconds(processor: facts.Processor, price: str = "lambda_gb_second") -> Line:
    """A million images on one vCPU each."""
    amount = MILLION * processor.seconds * gigabytes()
    return Line(processor.name, amount, price, f"{processor.seconds:.3f} s of {gigabytes():.2f} GB an image")


def the_rest() -> list[Line]:
    """A million images: everything except the worker's seconds and the uploader's PUTs, with full batches."""
    units, batch = facts.units(), facts.parameter("BatchSize")
    requests = units["requests"]
    writes = facts.weighted(units["write_units"])
    log = units["log_bytes"] + facts.PLATFORM_LOG_BYTES / batch
    lines = [
        Line("Lambda, requests", MILLION / batch, "lambda_request", f"a batch of {batch:.0f}"),
        Line("S3, the worker's GETs", MILLION * requests["GetObject"], "s3_get", "counted"),
        Line("SQS", MILLION * 1.2, "sqs_request", "one send, a tenth of a receive and of a delete"),
        Line("DynamoDB, writes of records", MILLION * writes, "dynamodb_write", _bytes_in_words()),
        Line("DynamoDB, writes of `by_label`", MILLION, "dynamodb_write", "every image with a label"),
        Line(
            "DynamoDB, writes of `by_problem`",
            MILLION * facts.referred(),
            "dynamodb_write",
            f"the {100 * facts.referred():.0f} % that are referred",
        ),
        Line(
            "DynamoDB, reads", MILLION * units["read_units"], "dynamodb_read", "is there a record, or a mark: counted"
        ),
        Line("CloudWatch Logs, taken in", MILLION * log / facts.GB, "logs_gb", f"{log:.0f} bytes an image: counted"),
    ]
    return [*lines, traces("X-Ray")] if facts.traced() else lines


def traces(what: str) -> Line:
    """Of a million images."""
    amount = MILLION / facts.parameter("BatchSize")
    return Line(what, amount, "trace", "at most: a trace for each batch, none left out")


def _bytes_in_words() -> str:
    sizes = (f"{size:,} bytes ({status})" for status, size in facts.units()["record_bytes"].items())
    return f"records of {' and '.join(sizes)}"


def uploads() -> Line:
    """What the uploader's own requests cost."""
    return Line("S3, the uploader's PUTs", MILLION, "s3_put", "one each; S3's news of them is free")


def storage() -> list[Line]:
    """A month of what a million images leave behind."""
    units, over = facts.units(), facts.ITEM_OVERHEAD_BYTES
    entries = units["index_entry_bytes"]
    table = facts.weighted(units["record_bytes"]) + over
    indexes = entries["by_label"] + over + facts.referred() * (entries["by_problem"] + over)
    days = facts.parameter("LogRetentionDays")
    log = units["log_bytes"] * units["log_compressed"] * min(1.0, days / facts.MONTH_DAYS)
    gb = MILLION / facts.GB
    return [
        Line("S3, the images", gb * facts.upload_bytes(), "s3_gb_month", f"{facts.upload_bytes():,} bytes on average"),
        Line("DynamoDB, records", gb * table, "dynamodb_gb_month", f"with {over} bytes that each item adds"),
        Line("DynamoDB, indexes", gb * indexes, "dynamodb_gb_month", "the same"),
        Line(
            "DynamoDB, recovery to any second",
            gb * (table + indexes),
            "dynamodb_recovery_gb_month",
            "table and indexes",
        ),
        Line("CloudWatch Logs, compressed", gb * log, "logs_gb_month", f"kept for {days:.0f} days"),
    ]


def fixed() -> list[Line]:
    """A month of the stack, with or without images."""
    polls = facts.queues_polled() * facts.POLLERS * facts.MONTH_DAYS * 86_400 / facts.POLL_SECONDS
    return [
        Line("CloudWatch, metrics", facts.units()["metrics"], "metric_month", "at most: an hour without one is free"),
        Line(
            "CloudWatch, alarms",
            facts.alarm_metrics(),
            "alarm_metric_month",
            f"{facts.alarms()} alarms, paid by the metrics that they look at",
        ),
        Line("CloudWatch, dashboard", 1, "dashboard_month", ""),
        Line(
            "SQS, empty receives",
            polls,
            "sqs_request",
            f"{facts.queues_polled()} queues, {facts.POLLERS} long polls of {facts.POLL_SECONDS} s on each",
        ),
        Line("Secrets Manager", 1, "secret_month", "the secret that names images in logs and marks"),
        Line(
            "ECR, the functions' images",
            facts.repositories() * facts.IMAGE_GB,
            "ecr_gb_month",
            f"{facts.repositories()} repositories, with one version of {facts.IMAGE_GB} GB (assumed) in each",
        ),
    ]


def options() -> list[Line]:
    """What a parameter adds."""
    month = facts.MONTH_DAYS * 86_400
    kept = gigabytes() * month
    longest, alarmed = facts.reconciler()
    off = [] if facts.traced() else [traces("`Tracing=Active`: a million images")]
    return [
        *off,
        Line("`SnapStart`: a month of each kept version", kept, "snapstart_cached_gb_second", "the worker's memory"),
        Line("`SnapStart`: 1,000 restores", 1000 * gigabytes(), "snapstart_restored_gb", "the same"),
        Line("`EncryptionKey=create`: a month", 1, "kms_key_month", ""),
        Line("`EncryptionKey`: 1,000 images that come singly", 3000, "kms_request", "at most: a call for each step"),
        Line(
            "`ReconcileSchedule`: a million objects, look-ups",
            MILLION / 2,
            "dynamodb_read",
            "half a unit each, if the newest model has answered them",
        ),
        Line("`ReconcileSchedule`: a million objects, listing", MILLION / objects.PAGE, "s3_list", "a thousand in one"),
        Line("`ReconcileSchedule`: a run", longest, "lambda_gb_second", "at most: as long as Lambda lets it"),
        Line("`ReconcileSchedule`: a month", alarmed, "alarm_metric_month", "its alarm"),
        Line("`ReconcileSchedule`: a month", 1, "metric_month", "its metric"),
        Line("`Api`: a million requests, the gateway", MILLION, "http_api_request", ""),
        Line("`Api`: a million requests, Lambda's", MILLION, "lambda_request", "and its seconds, as for the worker"),
    ]


def cold_starts() -> list[Line]:
    """A thousand cold starts on each processor."""
    return [
        Line(p.name, 1000 * p.cold_start * gigabytes(), "lambda_gb_second", f"{p.cold_start:.2f} s each")
        for p in facts.processors()
        if p.measured
    ]


def total(lines: list[Line]) -> float:
    """Dollars of all."""
    return sum(line.dollars for line in lines)


def month(images_a_month: int, processor: facts.Processor) -> float:
    """Dollars of a month with so many images, its uploads and fixed costs included, storage not."""
    each = lambda_seconds(processor).dollars + total(the_rest()) + uploads().dollars
    return images_a_month / MILLION * each + total(fixed())
