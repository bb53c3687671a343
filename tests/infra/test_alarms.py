"""Each alarm rings when it should, stays silent when it should, and says what to do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import comb
from types import SimpleNamespace
from typing import Any

import pytest
from metric_math import breaches
from transformed_template import default_template, resolved

from handler import telemetry
from handler.errors import TryAgainError
from handler.flow.queues import hidden_seconds
from handler.pseudonyms import Pseudonyms
from handler.reconciler import Run
from infra.template import TEMPLATE, read_template

STATUSES = ("classified", "referred", "rejected", "superseded", "failed")
RUNBOOKS = TEMPLATE.parent / "docs" / "operations.md"
KINDS = {
    "dead-letters-live", "dead-letters-bulk", "oldest-upload-live", "oldest-message-bulk", "error-rate",
    "nothing-processed", "work-per-upload", "referral-drift", "throttles", "service-errors",
    "dead-letters-removals", "housekeeping-late", "uploads-without-record",
}  # fmt: skip
SAY_WHEN_IT_IS_OVER = {"nothing-processed"}
"""Half of the e-mails would otherwise say that there is nothing to do."""
SECONDS_OF_A_DAY = 86_400


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    made: dict[str, Any] = resolved(default_template(), Api="iam", ReconcileSchedule="rate(1 day)")["Resources"]
    return made


@pytest.fixture(scope="module")
def alarms(resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, without the stack's."""
    found = (res["Properties"] for res in resources.values() if res["Type"] == "AWS::CloudWatch::Alarm")
    named = {alarm["AlarmName"].removeprefix("dermbatch-"): alarm for alarm in found}
    return {name: alarm for name, alarm in named.items() if name != "rollout"}  # read by CodeDeploy: test_rollout.py


def test_there_is_one_alarm_for_each_thing_that_goes_wrong(alarms):
    assert set(alarms) == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_alarm_says_what_to_do_and_where_the_runbook_is(alarms, kind):
    alarm = alarms[kind]
    text = alarm["AlarmDescription"]
    assert len(text) <= 1024, "CloudWatch takes no longer one"
    (title,) = re.findall(r'docs/operations\.md, "([^"]+)"', text)
    headings = re.findall(r"^#+ (.+)$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    assert title in headings, f"docs/operations.md has no section {title!r}"
    assert alarm["AlarmActions"] == ["AlarmTopic-name"]
    assert alarm.get("OKActions", []) == (["AlarmTopic-name"] if kind in SAY_WHEN_IT_IS_OVER else [])
    assert alarm["TreatMissingData"] == "notBreaching", "a quiet night is no alarm"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_alarm_looks_back_no_longer_than_cloudwatch_lets_it(alarms, kind):
    alarm = alarms[kind]
    periods = [alarm["Period"]] if "Period" in alarm else [
        metric["MetricStat"]["Period"] for metric in alarm["Metrics"] if "MetricStat" in metric
    ]  # fmt: skip
    assert len(set(periods)) == 1, "metrics of one expression share their period"
    assert periods[0] * alarm["EvaluationPeriods"] <= SECONDS_OF_A_DAY


@pytest.fixture
def reported(capsys) -> set[str]:
    """The metrics for a batch with an upload of every status, one to try again, and a removal."""
    telemetry.metrics.clear_metrics()
    upload = SimpleNamespace(image="b/k", bucket="b", key="k", object_version="v", version="v")
    message = SimpleNamespace(id="m", receives=1, ignored=1, problems=())
    timings = dict.fromkeys(("fetch", "decode", "infer", "write"), 1.0)
    telemetry.report_batch(SimpleNamespace(messages=[message]), 6, "1")
    for status in (*STATUSES, None):
        error = None if status else TryAgainError("out_of_time", "There was no time.")
        outcome = {"upload": upload, "status": status, "written": bool(status), "removed": False, "reasons": []}
        telemetry.report_outcome(SimpleNamespace(**outcome, timings_ms=timings, error=error), message, Pseudonyms(b""))
    telemetry.report_removal(upload, 1, None, Pseudonyms(b""))
    telemetry.report_reconciliation(Run())
    telemetry.metrics.flush_metrics()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    return {
        metric["Name"] for line in lines for kept in line["_aws"]["CloudWatchMetrics"] for metric in kept["Metrics"]
    }


def test_every_metric_of_the_worker_that_is_watched_is_one_that_it_reports(resources, alarms, reported):
    watched = {
        metric["MetricStat"]["Metric"]["MetricName"]
        for alarm in alarms.values()
        for metric in alarm.get("Metrics", [])
        if metric.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "dermbatch"
    }
    shown = {metric[1] for widget in _widgets(resources) for metric in _metrics(widget) if metric[0] == "dermbatch"}
    assert watched
    assert shown
    assert watched | shown <= reported


def test_dead_letters_ring_at_the_first_one(alarms):
    for lane in ("live", "bulk", "removals"):
        alarm = alarms[f"dead-letters-{lane}"]
        assert alarm["Dimensions"][0]["Value"] == f"{lane.capitalize()}DeadLetters.QueueName"
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
        # A message that SQS moves there counts as visible, not as sent.
        assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"


def test_old_messages_ring_before_sqs_drops_them(resources, alarms):
    for kind, queue in (("oldest-upload-live", "LiveQueue"), ("oldest-message-bulk", "BulkQueue")):
        alarm = alarms[kind]
        assert alarm["Dimensions"][0]["Value"] == f"{queue}.QueueName"
        kept = resources[queue]["Properties"]["MessageRetentionPeriod"]
        assert float(alarm["Threshold"]) <= kept / 2


HEALTHY = {
    ("Invocations", "Sum"): 40.0, ("TryAgain", "SampleCount"): 1000.0, ("TryAgain", "Sum"): 3.0,
    ("BatchSize", "Sum"): 1000.0, ("LiveQueue.NumberOfMessagesDeleted", "Sum"): 1000.0,
    ("LiveQueue.NumberOfMessagesReceived", "Sum"): 1003.0,
    ("LiveQueue.ApproximateNumberOfMessagesVisible", "Maximum"): 100.0,
    ("LiveQueue.ApproximateNumberOfMessagesNotVisible", "Maximum"): 60.0,
    ("Referred", "Sum"): 620.0, ("Classified", "Sum"): 360.0,
    ("LiveQueue.ApproximateAgeOfOldestMessage", "Maximum"): 40.0, ("Count", "Sum"): 300.0, ("5xx", "Sum"): 1.0,
    ("Unrecorded", "Sum"): 0.0,
}  # fmt: skip
QUIET: dict[tuple[str, str], float] = {}
RINGS = {
    "every invocation crashes, so the worker counts nothing": (
        "error-rate", {("Invocations", "Sum"): 40.0, ("Errors", "Sum"): 40.0}),
    "one in ten invocations times out": (
        "error-rate", {**HEALTHY, ("Errors", "Sum"): 4.0}),
    "one in ten images is handed back, without an error of Lambda's": (
        "error-rate", {**HEALTHY, ("TryAgain", "Sum"): 100.0}),
    "the event source is disabled and uploads wait": (
        "nothing-processed", {("LiveQueue.ApproximateNumberOfMessagesVisible", "Maximum"): 1.0}),
    "a backfill waits, and its event source is disabled": (
        "nothing-processed", {**HEALTHY, ("BulkQueue.ApproximateNumberOfMessagesVisible", "Maximum"): 1000.0}),
    "the only message is in the hands of workers that die": (
        "nothing-processed", {("LiveQueue.ApproximateNumberOfMessagesNotVisible", "Maximum"): 1.0,
                              ("LiveQueue.NumberOfMessagesReceived", "Sum"): 1.0}),
    "the table may not be written, and every image is handed back": (
        "nothing-processed", {("BatchSize", "Sum"): 32.0, ("TryAgain", "SampleCount"): 32.0,
                              ("TryAgain", "Sum"): 32.0, ("LiveQueue.NumberOfMessagesDeleted", "Sum"): 2.0}),
    "of 200 images 116 are handed back unbegun": (
        "error-rate", {**HEALTHY, ("BatchSize", "Sum"): 200.0, ("TryAgain", "SampleCount"): 200.0,
                       ("TryAgain", "Sum"): 116.0}),
    "timeouts make three runs of every upload": (
        "work-per-upload", {**HEALTHY, ("LiveQueue.NumberOfMessagesReceived", "Sum"): 3360.0}),
    "a backfill's messages come again and again": (
        "work-per-upload", {**HEALTHY, ("BulkQueue.NumberOfMessagesReceived", "Sum"): 900.0,
                            ("BulkQueue.NumberOfMessagesDeleted", "Sum"): 200.0}),
    "all is received, nothing is done": (
        "work-per-upload", {("LiveQueue.NumberOfMessagesReceived", "Sum"): 500.0}),
    "far more is referred": (
        "referral-drift", {("Referred", "Sum"): 920.0, ("Classified", "Sum"): 80.0}),
    "removals wait for a housekeeper that does not start": (
        "housekeeping-late", {**HEALTHY, ("RemovalsQueue.ApproximateAgeOfOldestMessage", "Maximum"): 2400.0}),
    "what is spent does not reach the dead letters": (
        "housekeeping-late", {**HEALTHY, ("BulkSpent.ApproximateAgeOfOldestMessage", "Maximum"): 2400.0}),
    "nothing is referred any more": (
        "referral-drift", {("Classified", "Sum"): 1000.0}),
    "a clinic of 150 images a day has a new camera": (
        "referral-drift", {("Referred", "Sum"): 138.0, ("Classified", "Sum"): 12.0}),
    "the account's quota of workers is used up by others": (
        "throttles", {**HEALTHY, ("Throttles", "Sum"): 12.0}),
    "the table takes no more": (
        "throttles", {**HEALTHY, ("WriteThrottleEvents", "Sum"): 300.0}),
    "the uploads of one label meet one hot partition of an index": (
        "throttles", {**HEALTHY, ("by_label.WriteThrottleEvents", "Sum"): 30.0}),
    "the service cannot start": (
        "service-errors", {("Count", "Sum"): 9.0, ("5xx", "Sum"): 9.0}),
    "the service may not read the table, but its page still loads": (
        "service-errors", {("Count", "Sum"): 200.0, ("5xx", "Sum"): 40.0}),
    "the bucket tells of no upload any more, and a comparison finds one": (
        "uploads-without-record", {**HEALTHY, ("Unrecorded", "Sum"): 1.0}),
    "the comparison fails, and so do its two repetitions": (
        "uploads-without-record", {("Errors", "Sum"): 3.0}),
    "a record cannot be erased": (
        "dead-letters-removals", {("RemovalsDeadLetters.ApproximateNumberOfMessagesVisible", "Maximum"): 1.0}),
    "one upload cannot be done and is a dead letter": (
        "dead-letters-live", {("LiveDeadLetters.ApproximateNumberOfMessagesVisible", "Maximum"): 1.0}),
    "one message of a backfill is a dead letter": (
        "dead-letters-bulk", {("BulkDeadLetters.ApproximateNumberOfMessagesVisible", "Maximum"): 1.0}),
    "a thousand uploads meet two workers": (
        "oldest-upload-live", {**HEALTHY, ("LiveQueue.ApproximateAgeOfOldestMessage", "Maximum"): 601.0}),
    "a backfill is larger than its workers can do in two days": (
        "oldest-message-bulk", {**HEALTHY, ("BulkQueue.ApproximateAgeOfOldestMessage", "Maximum"): 172_801.0}),
}  # fmt: skip


@pytest.mark.parametrize("case", RINGS)
def test_it_rings(alarms, case):
    kind, data = RINGS[case]
    assert breaches(alarms[kind], data)


def test_every_alarm_has_a_disaster():
    assert {kind for kind, _ in RINGS.values()} == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("data", [HEALTHY, QUIET], ids=["a busy day", "a quiet night"])
def test_it_is_silent(alarms, kind, data):
    assert not breaches(alarms[kind], data)


def _days_that_ring(alarm: dict[str, Any], images: int, share: float) -> float:
    """The share of days that ring, of days with `images`, each of which is referred with probability `share`."""
    return sum(
        comb(images, n) * share**n * (1 - share) ** (images - n)
        for n in range(images + 1)
        if breaches(alarm, {("Referred", "Sum"): float(n), ("Classified", "Sum"): float(images - n)})
    )


def test_drift_is_seen_in_a_clinic_of_150_images_a_day_and_chance_is_not(alarms):
    alarm = alarms["referral-drift"]
    assert {metric["MetricStat"]["Period"] for metric in alarm["Metrics"] if "MetricStat" in metric} == {86_400}
    assert alarm["EvaluationPeriods"] == 1
    usual = int(read_template()["Parameters"]["ExpectedReferralPercent"]["Default"]) / 100
    assert 250 * _days_that_ring(alarm, 150, usual) < 0.1, "less than once in ten years of 250 days"
    assert _days_that_ring(alarm, 150, usual + 0.2) > 0.9, "the first day of 20 points more"
    assert _days_that_ring(alarm, 150, usual - 0.2) > 0.85, "and of 20 points less"


def test_a_service_that_fails_for_a_moment_wakes_nobody(alarms):
    alarm = alarms["service-errors"]
    assert breaches(alarm, {("Count", "Sum"): 1.0, ("5xx", "Sum"): 1.0}), "the share is high when few ask"
    assert alarm["DatapointsToAlarm"] >= 3, "so one period is not enough"


def test_without_the_service_there_is_no_alarm_of_it():
    made = resolved(default_template())["Resources"]
    assert "ServiceAlarm" not in made
    assert "UnrecordedAlarm" not in made
    assert "ThrottlesAlarm" in made


def test_images_for_which_there_was_no_time_are_no_standstill_beside_those_that_were_done(alarms):
    data = {("BatchSize", "Sum"): 200.0, ("TryAgain", "SampleCount"): 200.0, ("TryAgain", "Sum"): 116.0}
    assert not breaches(alarms["nothing-processed"], data)


def test_few_images_are_no_drift_and_few_messages_no_work_done_over(alarms):
    assert not breaches(alarms["referral-drift"], {("Referred", "Sum"): 20.0})
    few = {("LiveQueue.NumberOfMessagesReceived", "Sum"): 6.0, ("LiveQueue.NumberOfMessagesDeleted", "Sum"): 2.0}
    assert not breaches(alarms["work-per-upload"], few)


def test_one_upload_at_the_end_of_a_period_is_no_standstill(alarms):
    """It is counted as waiting in one period and as done in the next; the alarm wants three in a row."""
    assert alarms["nothing-processed"]["EvaluationPeriods"] >= 3


def test_the_expected_share_of_referrals_is_the_shipped_models():
    source = default_template()
    (metrics,) = (TEMPLATE.parent / "models").glob("*/metrics.json")
    share = 100 * json.loads(metrics.read_text())["all"]["referred"]
    expected, points = (
        source["Parameters"][name]["Default"] for name in ("ExpectedReferralPercent", "ReferralDriftPoints")
    )
    assert abs(share - expected) < points / 2, f"the shipped model refers {share:.0f} %: change the template's default"


def test_alarms_reach_the_address_that_was_given_and_only_cloudwatch_publishes():
    template = default_template()
    assert "Subscription" not in resolved(template)["Resources"]["AlarmTopic"]["Properties"]
    told = resolved(template, AlarmEmail="duty@example.org")["Resources"]
    assert told["AlarmTopic"]["Properties"]["Subscription"] == [{"Protocol": "email", "Endpoint": "duty@example.org"}]
    statements = told["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (allowed,) = (statement for statement in statements if statement["Effect"] == "Allow")
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_the_dashboard_shows_what_is_asked_first(resources):
    titles = {widget["properties"].get("title", "") for widget in _widgets(resources)}
    wanted = (
        "Images by state",
        "stage",
        "Oldest message",
        "throttles",
        "million images",
        "Dead letters",
        "Work",
        "referred",
    )
    for words in wanted:
        assert any(words.lower() in title.lower() for title in titles), words


@pytest.mark.parametrize(("architecture", "price"), [("x86_64", 0.0000166667), ("arm64", 0.0000133334)])
def test_the_dashboards_cost_is_lambdas_bill_for_a_million_images(architecture, price):
    """1,000 images in 100 invocations of 1 s at 1,769 MB."""
    resources = resolved(default_template(), Architecture=architecture)["Resources"]
    (widget,) = (w for w in _widgets(resources) if "million" in w["properties"].get("title", ""))
    formulas = (metric[0] for metric in widget["properties"]["metrics"] if isinstance(metric[0], dict))
    (expression,) = (formula["expression"] for formula in formulas if formula["id"] == "cost")
    scope = {"__builtins__": {}, "duration": 100 * 1000.0, "invocations": 100.0, "done": 1000.0}
    gigabyte_seconds, requests = 100 * 1769 / 1024, 100
    bill = gigabyte_seconds * price + requests * 0.0000002
    assert eval(expression, scope) == pytest.approx(1000 * bill, rel=1e-6)


def test_no_two_widgets_overlap(resources):
    cells = [
        (x, y)
        for widget in _widgets(resources)
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def _widgets(resources: dict[str, Any]) -> list[dict[str, Any]]:
    body = resources["Dashboard"]["Properties"]["DashboardBody"]
    assert "${" not in body
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def _metrics(widget: dict[str, Any]) -> list[list[Any]]:
    return [metric for metric in widget["properties"].get("metrics", []) if isinstance(metric[0], str)]


class TestAQuietDayWithOneHandBack:
    """One upload in the night, which S3 does not give at the first try. It is done a moment later."""

    PHASES = range(0, 300, 20)
    """Seconds of a period at which the upload arrives: an alarm's periods begin where they begin."""

    @pytest.mark.parametrize("arrives", PHASES)
    def test_no_alarm_rings(self, alarms, resources, arrives):
        assert self._ringing(alarms, self._waits(resources), arrives) == set()

    def test_without_the_worker_two_would_have(self, alarms):
        """Hidden for the queue's own time, 13 minutes."""
        ringing = set().union(*(self._ringing(alarms, [780], arrives) for arrives in self.PHASES))
        assert ringing == {"oldest-upload-live", "nothing-processed"}

    def test_what_is_handed_back_again_and_again_rings(self, alarms, resources):
        timeout = resources["LiveQueue"]["Properties"]["VisibilityTimeout"]
        waits = [hidden_seconds(receives, timeout) for receives in range(1, 7)]
        assert {"oldest-upload-live", "nothing-processed"} <= self._ringing(alarms, waits, 0)

    def _waits(self, resources: dict[str, Any]) -> list[int]:
        timeout = resources["LiveQueue"]["Properties"]["VisibilityTimeout"]
        return [hidden_seconds(1, timeout)]

    def _ringing(self, alarms: dict[str, dict[str, Any]], waits: list[int], arrives: int) -> set[str]:
        """The alarms that are in alarm at some time, when each of `waits` lies between two receives."""
        receives = [arrives + 2]
        for wait in waits:
            receives.append(receives[-1] + 1 + wait)
        life = Life(arrives, receives)
        return {kind for kind, alarm in alarms.items() if life.rings(alarm)}


@dataclass(frozen=True)
class Life:
    """One message of the live lane, in seconds from a period's beginning: handed back at all receives but the last."""

    arrives: int
    receives: list[int]

    @property
    def done(self) -> int:
        return self.receives[-1] + 1

    def rings(self, alarm: dict[str, Any]) -> bool:
        period = alarm["Period"] if "Period" in alarm else next(
            metric["MetricStat"]["Period"] for metric in alarm["Metrics"] if "MetricStat" in metric
        )  # fmt: skip
        breaching = [self._breaches(alarm, start, period) for start in range(0, self.done + 3 * period, period)]
        of = alarm["EvaluationPeriods"]
        wanted = alarm.get("DatapointsToAlarm", of)
        return any(sum(breaching[start : start + of]) >= wanted for start in range(len(breaching)))

    def _breaches(self, alarm: dict[str, Any], start: int, period: int) -> bool:
        return breaches(alarm, self._counted(start, start + period))

    def _counted(self, start: int, end: int) -> dict[tuple[str, str], float]:
        """What CloudWatch counts from `start` to `end`; where nothing happens there is no data."""
        received = [moment for moment in self.receives if start <= moment < end]
        data = {("Invocations", "Sum"): float(len(received)), ("BatchSize", "Sum"): float(len(received)),
                ("TryAgain", "SampleCount"): float(len(received)),
                ("TryAgain", "Sum"): float(sum(moment != self.receives[-1] for moment in received)),
                ("LiveQueue.NumberOfMessagesReceived", "Sum"): float(len(received))} if received else {}  # fmt: skip
        if start <= self.done < end:
            data["LiveQueue.NumberOfMessagesDeleted", "Sum"] = data["Classified", "Sum"] = 1.0
        if self.arrives < end and start < self.done:
            data["LiveQueue.ApproximateAgeOfOldestMessage", "Maximum"] = float(min(end, self.done) - self.arrives)
            data["LiveQueue.ApproximateNumberOfMessagesNotVisible", "Maximum"] = 1.0
        return data


@dataclass(frozen=True)
class Drill(Life):
    """A message that no worker understands: it names no image, and SQS moves it on after the last receive's wait."""

    last_wait: int = 0

    @property
    def done(self) -> int:
        return self.receives[-1] + self.last_wait

    def _counted(self, start: int, end: int) -> dict[tuple[str, str], float]:
        counted = super()._counted(start, end)
        of_images = ("TryAgain", "Classified", "LiveQueue.NumberOfMessagesDeleted")
        data = {name: value for name, value in counted.items() if name[0] not in of_images}
        return data | ({("BatchSize", "Sum"): 0.0} if ("BatchSize", "Sum") in data else {})


@pytest.mark.parametrize("arrives", range(0, 300, 50))
def test_the_first_days_drill_rings_the_alarms_that_the_page_names(alarms, resources, arrives):
    """On a quiet stack: whoever follows the page must not take the other e-mails for a defect."""
    page = (TEMPLATE.parent / "docs" / "first-day.md").read_text(encoding="utf-8")
    section = page.partition("## 5. An alarm's e-mail\n")[2].partition("\n## ")[0]
    timeout = resources["LiveQueue"]["Properties"]["VisibilityTimeout"]
    *waits, last = (
        hidden_seconds(n, timeout) for n in range(1, read_template()["Parameters"]["MaxReceives"]["Default"] + 1)
    )
    receives = [arrives + 2]
    for wait in waits:
        receives.append(receives[-1] + 1 + wait)
    drill = Drill(arrives, receives, last)
    assert f"About {(drill.done - arrives) / 60:.0f} minutes later" in " ".join(section.split())
    ringing = {kind for kind, alarm in alarms.items() if drill.rings(alarm)} | {"dead-letters-live"}
    assert {kind for kind in KINDS if kind in section} == ringing
