"""The soak, small: every upload ends in its record, whatever strikes it; and its verdict sees what is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter

import pytest

from handler.intake.events import read_event
from handler.store.table import PredictionsTable
from model_layer import Classifier
from proof.soak import faults, pairs
from proof.soak.__main__ import main
from proof.soak.clouds import CLOUDS, created, send
from proof.soak.run import soak
from proof.soak.uploads import LEAST, plan
from proof.soak.verdict import Expected, Verdict, judge, keep, story, table
from proof.soak.workers import Tally

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1200)]

# Each of the two halves; `make soak SOAK_OPTIONS=--pairs` tries all of them both ways.
HALVES = {pairs.HANDED_BACK: 0, pairs.MAYBE_DEAD: 1}
EVERY_FAULT = {*faults.OF_IMAGES, *faults.OF_INVOCATIONS, *faults.KILLS, *faults.LASTING}


def test_three_hundred_uploads(tiny_bundle, tmp_path):
    """What `make soak` does with ten thousand."""
    verdict = soak(300, tmp_path, tiny_bundle)
    assert verdict.broken() == [], table(verdict)
    assert (verdict.uploads, verdict.records) == (300, 300)
    assert verdict.duplicates_absorbed >= 20
    assert verdict.retries > 0
    assert verdict.dead_letters == verdict.states["failed"] == 1, "the one that can never be read"
    assert (verdict.erased_left, verdict.erased_wrongly) == (0, 0)
    assert json.loads((tmp_path / "soak.json").read_text())["holds"]


@pytest.mark.parametrize("cloud", sorted(CLOUDS))
def test_each_fault_on_each_cloud(cloud, tiny_bundle, tmp_path):
    verdict = soak(80, tmp_path, tiny_bundle, cloud=cloud, each_fault=True)
    assert set(verdict.faults) == EVERY_FAULT, "each has struck"
    assert [line for line in verdict.broken() if "inferences" not in line] == [], table(verdict)
    assert verdict.deaths >= 6
    assert verdict.states["failed"] == 2
    spoken_of = {
        tuple(
            (upload.key, upload.object_version) for upload in read_event(json.loads(letter["Body"])).messages[0].uploads
        )
        for letter in verdict.letters
    }
    assert len(spoken_of) == 2, "each in a dead letter, or in two: events come at least once"
    assert verdict.inferences <= verdict.uploads + verdict.deaths * 10, "a death costs at most its batch"


@pytest.mark.pairs
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("told_as", HALVES)
def test_two_faults_on_one_upload_at_every_receive(told_as, tiny_bundle, tmp_path):
    """A thousand uploads in each half: none is lost, and none is given up that a receive without fault was left."""
    half = pairs.enumerated()[HALVES[told_as] :: 2]
    assert len(half) > 1000
    found = pairs.try_pairs(half, tmp_path, tiny_bundle, told_as=told_as)
    assert found.holds, "\n\n".join(found.told[:10])
    assert found.states.keys() == {"classified", "failed"}


def test_what_no_worker_could_write_of_has_its_record_from_the_housekeeper(tiny_bundle, tmp_path):
    """Two faults that let no write through, on the last two receives."""
    silent = {faults.LATE_TABLE, faults.EXPIRED, faults.KILL_WRITE}
    wanted = {(faults.at(one, 4), faults.at(other, 5)) for one, other in itertools.product(silent, silent)}
    nine = [pair for pair in pairs.enumerated() if pair.faults in wanted]
    assert len(nine) == 9
    found = pairs.try_pairs(nine, tmp_path, tiny_bundle, told_as=pairs.HANDED_BACK)
    assert found.holds, "\n\n".join(found.told)
    assert found.states == {"failed": 9}


def test_the_pairs_are_all_of_them():
    met = {frozenset(pair.faults) for pair in pairs.enumerated(5)}
    assert len(met) == len(pairs.enumerated(5))
    for receive, one, other in itertools.product(range(1, 5), pairs.SENT_BACK, pairs.SINGLE):
        assert {faults.at(one, receive), faults.at(other, receive + 1)} in met
    forbidden_then_no_table = {faults.FORBIDDEN, faults.at(faults.LATE_TABLE, 5)}
    assert forbidden_then_no_table in met, "the way in which uploads were lost"


@pytest.fixture(scope="class")
def stack():
    with CLOUDS["moto"](10, 5) as deployed:
        yield deployed


class TestTheVerdict:
    """A soak that cannot fail proves nothing: each wrong is put there by hand, and must be seen."""

    @pytest.fixture
    def ours(self, stack):
        return stack.bucket

    def judged(self, stack, records=(), expected=("a", "b"), inferences=2) -> Verdict:
        wanted = {(key, "v"): Expected("classified") for key in expected}
        return judge(stack, wanted, records, Tally(), inferences, Counter())

    def record(self, key: str, status: str = "classified", model: str = "1") -> dict:
        return {"object": {"key": key}, "version": f"v#{model}", "status": status}

    def test_every_promise_is_in_the_table(self, stack):
        verdict = self.judged(stack, [self.record("a", "failed"), self.record("b")])
        assert "failed_without_letter is 1, not 0" in verdict.broken()
        assert dict(line.rsplit(None, 1) for line in table(verdict).splitlines())["failed records without one"] == "1"

    def test_erasure_is_a_promise(self, stack):
        verdict = self.judged(stack, [self.record("a"), self.record("b")])
        verdict.erased, verdict.erased_left, verdict.erased_wrongly = 5, 1, 2
        assert verdict.broken() == ["erased_left is 1, not 0", "erased_wrongly is 2, not 0"]

    def test_all_is_well(self, stack):
        assert self.judged(stack, [self.record("a"), self.record("b")]).broken() == []

    @pytest.mark.parametrize(
        ("records", "complaint"),
        [
            (["a"], "lost is 1"),
            (["a", "b", "b"], "doubled is 1"),
            (["a", "b", "stranger"], "wrong_state is 1"),
        ],
    )
    def test_what_is_missing_or_too_much(self, stack, records, complaint):
        assert complaint in " ".join(self.judged(stack, map(self.record, records)).broken())

    def test_a_wrong_state(self, stack):
        assert self.judged(stack, [self.record("a", "failed"), self.record("b")]).wrong_state == 1

    def test_work_done_twice(self, stack):
        verdict = self.judged(stack, [self.record("a"), self.record("b")], inferences=3)
        assert "inferences_per_image" in verdict.broken()[0]

    def test_a_dead_letter_that_need_not_be_there(self, stack, ours):
        dead = dataclasses.replace(stack.live, queue_url=stack.live.dlq_url)
        send(dataclasses.replace(stack, lanes={"Live": dead}), created(ours, "a", "v", None))
        assert self.judged(stack, [self.record("a"), self.record("b")]).dead_letters_unexplained == 1

    def test_what_became_of_a_lost_upload_is_told_receive_by_receive(self, stack, ours, tmp_path):
        dead = dataclasses.replace(stack.live, queue_url=stack.live.dlq_url)
        send(dataclasses.replace(stack, lanes={"Live": dead}), created(ours, "a", "v", None))
        verdict = self.judged(stack, [self.record("b")])
        assert verdict.to_look_at == [("a", "v")]
        log = tmp_path / "worker.log"
        log.write_text('no json\n{"message": "image to try again", "version": "v", "receives": 4, "error": "Why."}\n')
        told = story(verdict.to_look_at, {"a": ["x@4"]}, {("a", "v"): ["receive 4: handed back"]}, log)
        send(stack, "left behind")
        keep(tmp_path, stack, verdict.letters, told)
        text = (tmp_path / "story.txt").read_text()
        for words in ("a (v), faults: x@4", "receive 4: handed back", "image to try again: Why."):
            assert words in text
        kept = json.loads((tmp_path / "messages.json").read_text())
        assert [message["Body"] for message in kept["live"]] == ["left behind"]
        assert "ApproximateReceiveCount" in kept["dead_letters"][0]["Attributes"]

    def test_a_message_that_is_left(self, stack, ours):
        send(stack, created(ours, "a", "v", None))
        assert self.judged(stack, [self.record("a"), self.record("b")]).queue_left == 1


class TestTheCommand:
    def test_refuses_fewer_uploads_than_there_are_faults(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as end:
            main(["-n", "9", "--out", str(tmp_path)])
        assert end.value.code == 2
        assert capsys.readouterr().err.endswith("-n must be at least 10: each fault needs an upload of its own\n")

    def test_says_in_a_sentence_that_a_bundle_is_none(self, tmp_path, capsys):
        assert main(["-n", "10", "--out", str(tmp_path), "--bundle", str(tmp_path / "nope")]) == 1
        error = capsys.readouterr().err
        assert error.startswith("soak: ")
        assert error.count("\n") == 1

    def test_says_in_a_sentence_that_a_folder_cannot_be_made(self, tmp_path, capsys):
        (tmp_path / "file").touch()
        assert main(["-n", "10", "--out", str(tmp_path / "file")]) == 1
        assert capsys.readouterr().err.startswith(f"soak: {tmp_path / 'file'}: ")

    @pytest.mark.parametrize(("held", "status"), [([True, True, True], 0), ([True, False, True], 1)])
    def test_runs_once_for_each_seed(self, held, status, tmp_path, monkeypatch, capsys):
        seeds = []

        def one(options, bundle, seed, out):
            seeds.append((seed, out.name))
            return held[len(seeds) - 1]

        monkeypatch.setattr("proof.soak.__main__._mix", one)
        assert main(["-n", "10", "--out", str(tmp_path), "--seeds", "4-6"]) == status
        assert seeds == [(4, "seed-4"), (5, "seed-5"), (6, "seed-6")]
        assert f"{sum(held)} of 3 runs hold." in capsys.readouterr().out

    def test_is_stopped_by_ctrl_c(self, tmp_path, monkeypatch, capsys):
        def stop(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr("proof.soak.__main__.soak", stop)
        assert main(["-n", "10", "--out", str(tmp_path)]) == 130
        assert capsys.readouterr().err == "\nsoak: stopped; nothing was counted.\n"


def test_the_least_that_can_be_planned(tiny_bundle):
    assert plan(LEAST, 0, 10, Classifier.load(tiny_bundle, threads=1))


def test_the_plan_is_the_seeds(tiny_bundle):
    classifier = Classifier.load(tiny_bundle, threads=1)
    first, again, other = (plan(100, seed, 10, classifier) for seed in (3, 3, 4))
    assert [one.contents for one in first] == [one.contents for one in again]
    assert [one.faults for one in first] == [one.faults for one in again]
    assert [one.contents for one in first] != [one.contents for one in other]


def test_the_mix_is_the_promised_one(tiny_bundle):
    objects = plan(1000, 0, 10, Classifier.load(tiny_bundle, threads=1))
    struck = Counter(fault for one in objects for fault in one.faults)
    assert sum(len(one.contents) for one in objects) == 1000
    assert sum(one.duplicated for one in objects) == 99
    assert sum(one.deleted for one in objects) == 10
    assert sum(len(one.contents) == 2 for one in objects) == 10
    assert sum(getattr(one.expected[0], "status", "rejected") == "rejected" for one in objects) == 30
    assert all(struck[fault] == 10 for fault in faults.OF_IMAGES)
    assert all(struck[fault] >= 1 for fault in faults.OF_INVOCATIONS)


def test_a_table_that_appears_late(stack, workers):
    """The worker is deployed and fed before its table is there."""
    from sample_images import jpeg

    from proof.soak.clouds import declared_table

    dynamodb, s3 = stack.endpoint.client("dynamodb"), stack.endpoint.client("s3")
    dynamodb.delete_table(TableName=stack.table)
    for number in range(4):
        s3.put_object(Bucket=stack.bucket, Key=f"{number}.jpg", Body=jpeg(number))
    crew = workers({})
    note = crew._note

    def create_after_the_first_batch(invocation):
        if not crew.tally.invocations:
            dynamodb.create_table(TableName=stack.table, **declared_table())
        note(invocation)

    crew._note = create_after_the_first_batch
    crew.start()
    crew.finish()
    records = list(PredictionsTable(dynamodb, stack.table).everything())
    assert sorted(record["object"]["key"] for record in records) == [f"{n}.jpg" for n in range(4)]
    assert {record["status"] for record in records} <= {"classified", "referred"}
    assert crew.tally.retries >= 4
