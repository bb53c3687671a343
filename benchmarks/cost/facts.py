"""What the arithmetic starts from: committed measurements, the template's defaults, and what is assumed."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.template import read_template

RESULTS = Path(__file__).resolve().parents[1] / "results"
FOLDER = RESULTS / "cost"

# Assumed, because only an account shows it. Each is an upper bound or a usual value.
PLATFORM_LOG_BYTES = 400
"""Of the lines START, END and REPORT that Lambda adds to each invocation."""
ITEM_OVERHEAD_BYTES = 100
"""DynamoDB adds them to each stored item and index entry, says its page on billing."""
POLLERS = 5
"""Long polls that Lambda keeps open on an idle queue, says its page on SQS."""
POLL_SECONDS = 20
IMAGE_GB = 0.5
"""Of one version of a function's image in the registry, compressed; `aws ecr describe-images` knows yours."""
MONTH_DAYS = 30
GB = 2**30


@dataclass(frozen=True)
class Processor:
    """One kind of processor, and the seconds of one vCPU that an image takes on it."""

    name: str
    seconds: float
    measured: bool
    shipped: bool
    """Whether the network is the shipped one."""
    cold_start: float


@functools.cache
def measured(name: str) -> dict[str, Any]:
    """See `benchmarks.cost.seconds`; `name` is avx2 or vnni.

    `former` is what the bench found of the former, full-width network on an old processor that has AVX2 only.
    """
    found: dict[str, Any] = _read(FOLDER / f"{name}.json")
    return found


@functools.cache
def processors() -> tuple[Processor, ...]:
    """Slowest first. The first is of the former network, as it was measured; the second what that means for ours."""
    former, new, vnni = measured("former"), measured("avx2"), measured("vnni")
    seconds, network, cold = former["seconds"], former["of_it_the_network"], former["cold_start"]
    scaled = seconds - network + network * new["giga_operations"] / former["giga_operations"]
    return (
        Processor("an older one, AVX2; the former network", seconds, measured=True, shipped=False, cold_start=cold),
        Processor("an older one, AVX2", round(scaled, 3), measured=False, shipped=True, cold_start=cold),
        Processor("a newer one, held to AVX2", new["seconds"], True, True, new["cold_start"]),
        Processor("a newer one, with 8-bit multiply-add", vnni["seconds"], True, True, vnni["cold_start"]),
    )


def shipped() -> tuple[Processor, ...]:
    """Those with the shipped network, slowest first."""
    return tuple(processor for processor in processors() if processor.shipped)


@functools.cache
def upload_bytes() -> int:
    """Mean size of the typical uploads."""
    return int(measured("vnni")["upload_bytes"])


@functools.cache
def units() -> dict[str, Any]:
    """See `benchmarks.cost.units`."""
    found: dict[str, Any] = _read(FOLDER / "units.json")
    return found


def parameter(name: str) -> float:
    """A numeric parameter's default."""
    return float(_template()["Parameters"][name]["Default"])


def referred() -> float:
    """The share of images that the model refers to a person."""
    return parameter("ExpectedReferralPercent") / 100


def weighted(by_status: dict[str, float]) -> float:
    """The mean of a classified and a referred image's figure."""
    either = next(iter(by_status.values()))  # where a new model gave all of the counted images one status
    return by_status.get("classified", either) * (1 - referred()) + by_status.get("referred", either) * referred()


def functions() -> dict[str, Any]:
    """The functions that every deployment has, by name."""
    return _unconditional("AWS::Serverless::Function")


def traced() -> bool:
    """Whether X-Ray gets traces by default."""
    held = [function.get("Tracing") for function in functions().values()]
    parameters = _template()["Parameters"]
    return "Active" in [parameters[each["Ref"]]["Default"] if isinstance(each, dict) else each for each in held]


def queues_polled() -> int:
    """Event sources of SQS."""
    events = [event for function in functions().values() for event in function.get("Events", {}).values()]
    return sum(event["Type"] == "SQS" for event in events)


def alarm_metrics() -> int:
    """Metrics that the alarms look at: an alarm with an expression is paid for each of its metrics."""
    return sum(map(_looked_at, _unconditional("AWS::CloudWatch::Alarm").values()))


def _looked_at(alarm: dict[str, Any]) -> int:
    return sum("MetricStat" in part for part in alarm["Metrics"]) if "Metrics" in alarm else 1


def reconciler() -> tuple[float, int]:
    """GB-seconds of its longest run, and the metrics that its alarm looks at."""
    own, alarm = (_template()["Resources"][name]["Properties"] for name in ("Reconciler", "UnrecordedAlarm"))
    return own["MemorySize"] / 1024 * own["Timeout"], _looked_at(alarm)


def alarms() -> int:
    return len(_unconditional("AWS::CloudWatch::Alarm"))


def _unconditional(kind: str) -> dict[str, Any]:
    resources = _template()["Resources"]
    return {
        name: each["Properties"] for name, each in resources.items() if each["Type"] == kind and "Condition" not in each
    }


def repositories() -> int:
    """Of images, in ECR: `sam deploy` makes one for each function, also where the function's condition is false."""
    return sum(each["Properties"].get("PackageType") == "Image" for each in _template()["Resources"].values())


def retention_days(queue: str) -> int:
    """Days that the queue keeps a message."""
    return int(_template()["Resources"][queue]["Properties"]["MessageRetentionPeriod"]) // 86_400


@functools.cache
def _template() -> dict[str, Any]:
    return read_template()


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
