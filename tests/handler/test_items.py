"""Items of the table: small enough for one write unit, and whole again when read, whichever schema wrote them."""

from __future__ import annotations

import functools
import json
import random
import re
import string
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import latest_problems, most_confident
from s3_events import Put, handed_back, queue_event, record
from sample_records import (
    ANSWERS,
    BUNDLE,
    GOLDEN,
    PREDICTION,
    TODAY,
    UPLOAD,
    a_record,
    golden_record,
)
from stored_items import SCHEMAS, golden_item, item_of
from worker_rig import BOTH_CLOUDS, TABLE

from benchmarks.record_size import item_bytes, projected, units
from handler.configuration import bundle_folder
from handler.errors import REFUSALS, RefusedError, SupersededError, TryAgainError
from handler.store.items import LABEL_NAMES, whole
from handler.store.record import FileFacts, Finding, build_record
from handler.store.table import plain
from model_layer import Bundle, Heatmap, ImageFacts, Reason, ReferralCode, Rejection, RejectionCode, Status
from training.data.dataset import LABELS

MOST_BYTES = 1000
DOCS = Path(__file__).parents[2] / "docs" / "architecture.md"


def expiring(one):
    """As the worker writes it where records expire."""
    return item_of(one, expires_at=1_800_000_000)


def test_the_golden_items():
    """If this fails, tables in the field hold items that are read wrongly: make schema 3 with its own file instead."""
    one = golden_record()
    assert item_of(one) == golden_item(2)
    for schema in SCHEMAS:
        assert json.loads(json.dumps(whole(plain(golden_item(schema))))) == json.loads(GOLDEN.read_text())


def test_what_is_stored_holds_no_text_twice_and_says_what_it_is_for():
    one = a_record("referred", reasons=[{"code": "blurred", "sentence": ReferralCode.BLURRED.sentence}])
    item = golden_item(2) | item_of(one)
    assert item["heatmap"] == {"B": bytes((2, 3, 0, 12, 40, 7, 100, 55))}
    assert item["reasons"] == {"L": [{"M": {"code": {"S": "blurred"}}}]}
    assert item["notice"] == {"S": "Research use only."}
    assert whole(plain(item))["notice"] == "Research use only. Not a medical device."
    assert whole(plain(item))["reasons"][0]["sentence"] == ReferralCode.BLURRED.sentence
    text = json.dumps(item, default=bytes.hex)
    assert text.count(one["object"]["key"]) == text.count(one["object"]["version"]) == 1
    assert "melanoma" not in text


def test_the_names_that_are_not_stored_are_those_of_the_shipped_bundle():
    for labels in (LABELS, Bundle.read(bundle_folder({})).labels):
        assert {label.code: label.name for label in labels} == LABEL_NAMES


def test_the_lines_of_the_docs_that_decode_an_item_decode_it():
    section = DOCS.read_text(encoding="utf-8").partition("### The item in the table")[2]
    code = re.search(r"```python\n(.+?)```", section, re.DOTALL)[1]
    names = {"item": golden_item(2)}
    exec(code, names)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    heatmap = [names["rows"], names["columns"], *names["levels"]]
    assert names["record"] == golden
    assert heatmap == [2, 3, *golden["heatmap"]["values"]]
    assert names["sha256"] == golden["object"]["sha256"]

    printed = json.loads((GOLDEN.parent / "item-2.json").read_text(encoding="utf-8"))  # as the AWS CLI prints it
    for path, expected in (
        ("heatmap", [str(value) for value in heatmap]),
        ("object.M.sha256", re.findall("..", golden["object"]["sha256"])),
    ):
        value = functools.reduce(dict.__getitem__, [*path.split("."), "B"], printed)
        pipe = re.search(rf"--query Item\.{re.escape(path)}\.B --output text \| ([^#\n]+)", section)[1]
        told = subprocess.run(["sh", "-c", pipe], input=value, capture_output=True, text=True, check=True).stdout
        assert told.split() == expected


def test_a_code_of_a_later_version_is_read_without_its_sentence():
    attributes = {**plain(golden_item(2)), "reasons": [{"code": "sunburnt"}]}
    assert whole(attributes)["reasons"] == [
        {"code": "sunburnt", "sentence": "This version of dermbatch has no sentence for the code."}
    ]


# Any record, within stated bounds

hexes = st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")
names = st.text(string.ascii_lowercase + string.digits + "-", min_size=3, max_size=46)
keys = st.text(min_size=1, max_size=60).filter(lambda key: 0 < len(key.encode("utf-8", "replace")) <= 60)
versions = st.text(string.ascii_letters + string.digits + "_.", min_size=1, max_size=32)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)
times = st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


@st.composite
def uploads(draw) -> object:
    version = draw(st.none() | versions)
    etag = draw(hexes.map(lambda text: text[:32]) | st.just("d41d8cd98f00b204e9800998ecf8427e-12"))
    if version:
        etag = draw(st.none() | st.just(etag))
    key = draw(keys.filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)))
    return replace(UPLOAD, bucket=draw(names), key=key, version=version, etag=etag)


@st.composite
def answers_of_the_model(draw, most_reasons: int = len(ReferralCode)) -> object:
    weights = draw(st.lists(st.floats(1e-6, 1), min_size=8, max_size=8))
    probabilities = {code: round(weight / sum(weights), 6) for code, weight in zip(LABEL_NAMES, weights, strict=True)}
    label = max(probabilities, key=probabilities.__getitem__)
    codes = draw(st.lists(st.sampled_from(ReferralCode), unique=True, max_size=most_reasons))
    return replace(
        PREDICTION,
        status=Status.REFERRED if codes else Status.CLASSIFIED,
        label=label,
        label_name=LABEL_NAMES[label],
        confidence=probabilities[label],
        probabilities=probabilities,
        prediction_set=tuple(draw(st.lists(st.sampled_from(list(LABEL_NAMES)), unique=True, min_size=1, max_size=8))),
        reasons=tuple(Reason(code, code.sentence) for code in codes),
        heatmap=Heatmap(7, 7, tuple(draw(st.binary(min_size=49, max_size=49).map(lambda b: [v % 101 for v in b])))),
        facts=ImageFacts(draw(st.sampled_from(["jpeg", "dicom"])), *draw(st.tuples(*[st.integers(1, 99_999)] * 2))),
    )


other_answers = st.one_of(
    st.builds(Rejection, st.sampled_from(RejectionCode), st.none(), st.none() | texts),
    st.sampled_from([RefusedError(code) for code in REFUSALS]),
    st.builds(SupersededError, st.sampled_from(["deleted", "overwritten"]), texts),
    st.builds(TryAgainError, st.just("out_of_time"), texts),
)


@st.composite
def records(draw, answers) -> object:
    upload, digest = draw(uploads()), draw(hexes)
    file = draw(st.builds(FileFacts, st.just(upload.etag), st.none() | st.integers(0, 2**28), st.none() | hexes))
    timings = draw(st.dictionaries(st.sampled_from(["fetch", "decode", "infer"]), st.floats(0, 99_999)))
    bundle = SimpleNamespace(name="vgg16-skin", version="2026.11.25-2289f7a3", digest=f"sha256:{digest}")
    finding = Finding(upload, draw(answers), file, timings)
    return build_record(finding, bundle, "11111111-2222-3333-4444-555555555555", draw(times))


@settings(deadline=None)
@given(records(answers_of_the_model() | other_answers))
def test_every_record_is_read_as_it_was_written(one):
    assert whole(plain(expiring(one))) == one
    assert list(whole(plain(expiring(one)))) == list(one)


@settings(deadline=None, max_examples=50)
@given(records(answers_of_the_model(most_reasons=3)))
def test_an_answer_of_the_model_takes_one_write_unit(one):
    """With a key of 60 bytes in a bucket whose name is as long as the stack's own, and at most three reasons."""
    item = expiring(one)
    assert item_bytes(item) <= MOST_BYTES
    assert all(units(item_bytes(entry)) == 1 for entry in projected(item).values())


def test_the_largest_answer_within_the_bounds_takes_one_write_unit():
    """Every bound reached: what chance seldom draws."""
    bucket, rng = "b" * 46, random.Random(1)
    probabilities = {code: rng.randrange(100_001, 199_999, 2) / 1e6 for code in LABEL_NAMES}
    answer = replace(
        PREDICTION,
        label="akiec",
        label_name=LABEL_NAMES["akiec"],
        confidence=0.123457,
        probabilities=probabilities,
        prediction_set=tuple(LABEL_NAMES),
        triage="routine",
        reasons=tuple(
            Reason(code, code.sentence) for code in sorted(ReferralCode, key=lambda code: len(str(code)))[-3:]
        ),
        heatmap=Heatmap(7, 7, (99,) * 49),
        facts=ImageFacts("dicom", 12_345, 12_345),
    )
    upload = replace(UPLOAD, bucket=bucket, key="k" * 60, version="v" * 32)
    bundle = SimpleNamespace(name="vgg16-skin", version="2026.11.25-2289f7a3", digest=BUNDLE.digest)
    timings = dict.fromkeys(("fetch", "decode", "infer"), 12_345.6)
    file = FileFacts(UPLOAD.etag, 123_456_789, "ab" * 32)
    one = build_record(Finding(upload, answer, file, timings), bundle, "11111111-2222-3333-4444-555555555555")
    assert 950 < item_bytes(expiring(one)) <= MOST_BYTES


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"name": {"S": "Zoë"}}, 4 + 4),
        ({"n": {"N": "0"}}, 1 + 1),
        ({"n": {"N": "7"}}, 1 + 2),
        ({"n": {"N": "100"}}, 1 + 2),
        ({"n": {"N": "3141592"}}, 1 + 5),
        ({"n": {"N": "0.431207"}}, 1 + 4),
        ({"n": {"N": "-0.5"}}, 1 + 3),
        ({"n": {"NULL": True}}, 1 + 1),
        ({"n": {"B": b"12345"}}, 1 + 5),
        ({"n": {"L": []}}, 1 + 3),
        ({"n": {"L": [{"S": "ab"}, {"BOOL": True}]}}, 1 + 3 + (1 + 2) + (1 + 1)),
        ({"n": {"M": {"ab": {"S": "c"}}}}, 1 + 3 + 1 + 2 + 1),
    ],
)
def test_bytes_are_counted_as_dynamodb_documents_it(item, size):
    assert item_bytes(item) == size


# Items of both schemas in one table


@pytest.fixture(params=SCHEMAS, ids=["schema 1", "schema 2"])
def kept(request, table):
    """The golden record, as an item of one of the schemas."""
    boto3.client("dynamodb").put_item(TableName=TABLE, Item=golden_item(request.param))
    return golden_record()


@BOTH_CLOUDS
def test_a_kept_record_is_found_by_every_way_of_reading(table, kept):
    key = kept["image"], kept["version"]
    client = boto3.client("dynamodb")
    assert table.get(*key) == kept
    for found in (table.history(key[0]), table.everything(), table.get_many([key])):
        assert list(found) == [kept]
    assert table.states([key])[key].final
    (problem,) = latest_problems(client, TABLE, "referred", [TODAY])
    assert problem["reasons"] == kept["reasons"]
    (entry,) = most_confident(client, TABLE, "mel", [TODAY])
    assert {name: entry[name] for name in ("image", "version", "label", "confidence")} == {
        name: kept[name] for name in ("image", "version", "label", "confidence")
    }


@BOTH_CLOUDS
@pytest.mark.parametrize("schema", SCHEMAS)
def test_questions_are_answered_with_sentences_that_no_index_holds(table, schema):
    one = a_record("rejected")
    boto3.client("dynamodb").put_item(TableName=TABLE, Item=item_of(one, schema))
    (problem,) = latest_problems(boto3.client("dynamodb"), TABLE, "rejected", [TODAY])
    assert problem["reasons"] == [{"code": "blank", "sentence": RejectionCode.BLANK.sentence}]


@BOTH_CLOUDS
def test_nothing_replaces_a_kept_answer(table, kept):
    for status in ANSWERS:
        assert not table.put({**a_record(status), "image": kept["image"], "version": kept["version"]})
    assert list(table.everything()) == [kept]


@BOTH_CLOUDS
@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_kept_refusal_gives_way_to_an_answer(table, schema):
    refused = build_record(Finding(UPLOAD, RefusedError(next(iter(REFUSALS)))), BUNDLE, "request")
    boto3.client("dynamodb").put_item(TableName=TABLE, Item=item_of(refused, schema))
    key = refused["image"], refused["version"]
    assert not table.states([key])[key].final
    assert table.put(golden_record())
    assert list(table.everything()) == [golden_record()]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("versioned", [True, False])
def test_records_of_a_removed_image_are_erased(house, cloud, table, request, schema, versioned):
    bucket = request.getfixturevalue("bucket" if versioned else "unversioned_bucket")
    put = bucket.put("a.jpg", b"gone soon")
    upload = replace(UPLOAD, bucket=put.bucket, key=put.key, version=put.version, etag=put.etag)
    one = build_record(Finding(upload, PREDICTION, FileFacts(put.etag)), BUNDLE, "request")
    boto3.client("dynamodb").put_item(TableName=TABLE, Item=item_of(one, schema))
    assert list(table.everything()) == [one]
    gone = bucket.client.delete_object(Bucket=put.bucket, Key=put.key)
    named = Put(put.key, "", gone.get("VersionId"), put.bucket)
    kind = "DeleteMarkerCreated" if versioned else "Delete"
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"Records": [record(named, f"ObjectRemoved:{kind}", at)]}
    assert handed_back(house.handle(queue_event(event))) == []
    assert list(table.everything()) == []
