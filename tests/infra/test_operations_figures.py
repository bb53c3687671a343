"""Figures of the stack that docs/operations.md and docs/capacity.md name are the template's, or the code's, own."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.cost import facts
from handler.configuration import BYTES_A_PIXEL, MEGABYTES_A_CORE, OWN_MEGABYTES
from handler.reconciler import LAST_SECONDS
from handler.store import unrecorded
from handler.store.erasure import MARK_DAYS
from handler.store.record import SHARDS
from infra.prices import dollars
from infra.template import TEMPLATE, read_template

OPERATIONS = " ".join((TEMPLATE.parent / "docs" / "operations.md").read_text(encoding="utf-8").split())
_RESOURCES = read_template()["Resources"]
_PARAMETERS = read_template()["Parameters"]


def _of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = _RESOURCES[name]["Properties"]
    return found


def _days(queue: str) -> float:
    return _of(queue)["MessageRetentionPeriod"] / 86_400


def _seconds_until(alarm: str) -> float:
    """How long the alarm's condition holds before it rings."""
    own = _of(alarm)
    periods = {part["MetricStat"]["Period"] for part in own.get("Metrics", ()) if "MetricStat" in part}
    return own["EvaluationPeriods"] * (periods.pop() if periods else own["Period"])


def _slower() -> tuple[float, ...]:
    """How many times as long an image takes without 8-bit multiply-add: on a newer processor, and on an old one."""
    old, newer, fastest = (processor.seconds for processor in facts.shipped())
    return tuple(round(seconds / fastest, 1) for seconds in (newer, old))


TIMEOUT, HIDDEN = _of("Worker")["Timeout"], _of("LiveQueue")["VisibilityTimeout"]
FIGURES: dict[str, tuple[float, ...]] = {
    r"`OldestUploadSeconds`, (\d+) minutes by default": (_PARAMETERS["OldestUploadSeconds"]["Default"] / 60,),
    r"`oldest-message-bulk` \((\d+) days\)": (_of("BulkAgeAlarm")["Threshold"] / 86_400,),
    r"drops a message after (\d+) days, of the bulk lane after (\d+)": (_days("LiveQueue"), _days("BulkQueue")),
    r"keeps a dead letter for (\d+) days; [^.]* for (\d+) days from when": (_days("LiveDeadLetters"),) * 2,
    r"(\d+) times in two hours": (_of("RemovalsQueue")["RedrivePolicy"]["maxReceiveCount"],),
    r"more than (\d+) % of (?:invocations|images)": (_of("ErrorRateAlarm")["Threshold"],),
    r"`nothing-processed`: for (\d+) minutes": (_seconds_until("NothingProcessedAlarm") / 60,),
    r"received more than ([\d.]+) times for each": (_of("WorkPerUploadAlarm")["Threshold"],),
    r"watches days of (\d+) images or more": (
        float(re.findall(r"looked_at >= (\d+)", str(_of("ReferralDriftAlarm")))[0]),
    ),
    r"(\d+) for a timeout of (\d+)": (HIDDEN, TIMEOUT),
    r"after (\d+) minutes if they die with it": (_PARAMETERS["MaxReceives"]["Default"] * HIDDEN / 60,),
    r"a mark: a pseudonym and a time \| (\d+) days": (MARK_DAYS,),
    r"until it runs again; (\d+) days": (unrecorded._KEPT.days,),
    r"until they have been taken \| (\d+) days": (_days("BulkQueue"),),
    r"`NoncurrentDays` \((\d+)\)": (_PARAMETERS["NoncurrentDays"]["Default"],),
    r"`LogRetentionDays` \((\d+)\)": (_PARAMETERS["LogRetentionDays"]["Default"],),
    r"uploads of the last (\d+) minutes": (_PARAMETERS["MaxReceives"]["Default"] * HIDDEN / 60,),
    r"It would cost \$(\d+) for a million traces": (1_000_000 * dollars("trace"),),
    r"an image takes ([\d.]+) times as long, and on an old processor ([\d.]+) times": _slower(),
    r"indexes have (\d+) shards": (SHARDS,),
    r"A run stops after (\d+) minutes": ((_of("Reconciler")["Timeout"] - LAST_SECONDS) / 60,),
    r"(?:more than|sends|Each run sends up to) ([\d,]+) (?:messages wait|at most|more|were missing)": (
        unrecorded.MOST_SENT,
    ),
    r"`#(\d+)`[,.]? or use|so on to `#(\d+)`|seq 0 (\d+)": (SHARDS - 1,),
    r"([\d,]+) MB are one vCPU": (MEGABYTES_A_CORE,),
}


@pytest.mark.parametrize("pattern", FIGURES)
def test_a_figure_is_the_stacks_own(pattern):
    for found in re.finditer(pattern, OPERATIONS):
        given = [float(figure.replace(",", "")) for figure in found.groups() if figure]
        assert given == list(FIGURES[pattern]), found[0]


def test_a_workers_memory_is_reckoned_as_the_worker_does():
    """The other figures of that page are computed: tests/performance/test_cost.py."""
    capacity = " ".join((TEMPLATE.parent / "docs" / "capacity.md").read_text(encoding="utf-8").split())
    found = re.search(r"at worst (\d+) MB \+ .* `MAX_IMAGE_PIXELS` . (\d+) bytes", capacity)
    assert found
    assert [int(figure) for figure in found.groups()] == [OWN_MEGABYTES, BYTES_A_PIXEL]


def test_the_figures_are_still_in_the_text():
    """Or the test above tests nothing: who rewords a sentence rewords its pattern."""
    assert [pattern for pattern in FIGURES if not re.search(pattern, OPERATIONS)] == []
