"""The store behind the service: uploads that become records, questions, erasing; on an embedded AWS."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from running import running
from sample_images import encoded, jpeg, picture
from stored_items import SCHEMAS, golden_item
from test_classify import assert_problem, heic

from api import records, service
from api.app import create_app
from handler import aws
from handler.intake.messages import iso8601
from handler.store.precedence import enter, prefer
from handler.store.record import NOTICE
from handler.store.table import PredictionsTable
from model_layer import Classifier

TODAY = datetime.now(UTC).date()
GOLDEN = Path(__file__).parents[1] / "golden" / "record-1.json"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
"""What the service's clock shows where `noon` is used."""


@pytest.fixture
def noon(monkeypatch) -> datetime:
    """Stops the clock by which the service tells what today is."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return NOON

    monkeypatch.setattr(records, "datetime", Stopped)
    return NOON


def put(client: httpx.Client, content: bytes, *, content_type: str | None = None) -> str:
    """Uploads as a page does; gives the image's name."""
    created = client.post("/v1/uploads")
    assert created.status_code == 201, created.text
    place = created.json()
    url = str(client.base_url).rstrip("/") + place["url"] if place["url"].startswith("/") else place["url"]
    part = ("anna.jpg", content, content_type) if content_type else ("anna.jpg", content)
    sent = httpx.post(url, data=place["fields"], files={"file": part}, trust_env=False)
    assert sent.status_code in {201, 204}, sent.text
    return place["image"]


@pytest.fixture
def prefix(client) -> str:
    """A part of keys that no other test uses."""
    return f"t{time.monotonic_ns()}"


def record(image: str, *, status: str = "referred", label: str | None = "mel", confidence: float | None = 0.5, **more):
    """A record as it is written; what the questions do not look at is left out."""
    answered = status in {"classified", "referred"}
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    bucket, _, key = image.partition("/")
    return {
        "image": image,
        "version": "v1#1.0.0",
        "schema": 1,
        "status": status,
        "label": label if answered else None,
        "confidence": confidence if answered else None,
        "triage": "urgent" if answered else None,
        "reasons": [] if status == "classified" else [{"code": "blank", "sentence": "It is blank."}],
        "object": {"bucket": bucket, "key": key, "version": "v1"},
        "predicted_at": moment,
        **more,
    }


@pytest.fixture
def table(settings) -> PredictionsTable:
    return PredictionsTable(aws.client("dynamodb", settings.worker), settings.table)


def test_an_upload_becomes_a_record_that_is_found_shown_and_erased(client, work):
    image = put(client, heic(3), content_type="image/heic")
    assert_problem(client.get("/v1/prediction", params={"image": image}), 404, "no_record")
    work()

    history = client.get("/v1/prediction", params={"image": image}).json()
    (found,) = history["records"]
    assert (history["image"], found["image"], found["object"]["format"]) == (image, image, "heic")
    assert found["status"] in {"classified", "referred"}
    assert "anna" not in json.dumps(history), "the file's name stays with its owner"

    label = {"label": found["label"], "status": found["status"]}
    listed = client.get("/v1/predictions", params=label).json()["predictions"]
    assert image in [entry["image"] for entry in listed]

    preview = client.get("/v1/preview", params={"image": image, "side": 100})
    assert preview.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(preview.content)).size == (100, 100)

    erased = client.delete("/v1/prediction", params={"image": image})
    assert (erased.status_code, erased.json()) == (
        202,
        {"image": image, "versions": 1, "records": 1, "notice": NOTICE},
    )
    for response in (
        client.get("/v1/prediction", params={"image": image}),
        client.get("/v1/preview", params={"image": image}),
        client.delete("/v1/prediction", params={"image": image}),
    ):
        assert response.status_code == 404
    work()  # the bucket's news of the deletion
    assert client.get("/v1/prediction", params={"image": image}).status_code == 404


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_record_that_an_older_worker_wrote_reads_like_all_others(client, stack, schema):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    stack.endpoint.client("dynamodb").put_item(TableName=stack.table, Item=golden_item(schema))
    history = client.get("/v1/prediction", params={"image": golden["image"]}).json()
    assert history["records"] == [golden]
    listed = client.get("/v1/predictions", params={"status": "referred", "day": "2026-11-23"}).json()["predictions"]
    assert [entry["reasons"] for entry in listed] == [golden["reasons"]]


def test_erasing_takes_every_version_and_what_is_still_on_its_way(client, stack, work):
    image = put(client, jpeg(1))
    bucket, _, key = image.partition("/")
    s3 = stack.endpoint.client("s3")
    s3.put_object(Bucket=bucket, Key=key, Body=jpeg(2))
    s3.put_object(Bucket=bucket, Key=f"{key}-neighbour", Body=jpeg(3))
    erased = client.delete("/v1/prediction", params={"image": image}).json()
    assert erased["versions"] == 2
    work()  # the uploads' events come after the erasure
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    assert [version["Key"] for version in listed["Versions"]] == [f"{key}-neighbour"]
    records = client.get("/v1/prediction", params={"image": image})
    found = records.json().get("records", [])
    assert {one["status"] for one in found} <= {"superseded"}, "nothing that the image showed"
    assert client.get("/v1/prediction", params={"image": f"{image}-neighbour"}).status_code == 200


def test_a_place_is_good_for_one_key_and_size_for_a_time_and_for_any_content_type(client, settings):
    before = datetime.now(UTC)
    place = client.post("/v1/uploads").json()
    policy = json.loads(base64.b64decode(place["fields"]["policy"]))
    key = place["image"].partition("/")[2]
    assert key.startswith("uploads/")
    assert {"key": key} in policy["conditions"]
    assert ["content-length-range", 1, settings.worker.max_image_bytes] in policy["conditions"]
    assert not [one for one in policy["conditions"] if "Content-Type" in json.dumps(one)]
    assert place["max_bytes"] == settings.worker.max_image_bytes
    for told in (policy["expiration"], place["expires_at"]):
        left = datetime.fromisoformat(told) - before
        assert timedelta(seconds=890) < left < timedelta(seconds=910)


def test_on_aws_a_place_is_in_the_buckets_own_region(settings, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    on_aws = replace(settings, bucket="dermbatch-images", worker=replace(settings.worker, aws_endpoint_url=None))
    origin = "https://dermbatch-images.s3.eu-central-1.amazonaws.com"
    assert records.upload_origin(on_aws) == origin
    place = records.Records(on_aws, "table", "dermbatch-images", ("mel",)).place()
    assert place.url == f"{origin}/"
    app = create_app(on_aws)
    assert app.state.service.upload_origin() == origin


@pytest.fixture(scope="module")
def relaying(settings):
    """The service as `serve` runs it, where uploads go through it."""
    worker = replace(settings.worker, max_image_bytes=100_000)
    with running(create_app(replace(settings, relay=True, worker=worker))) as connected:
        yield connected


def test_a_relay_takes_the_same_form_and_is_of_the_same_origin(relaying, stack, work):
    image = put(relaying, jpeg(4))
    bucket, _, key = image.partition("/")
    assert stack.endpoint.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == jpeg(4)
    work()
    assert relaying.get("/v1/prediction", params={"image": image}).status_code == 200
    assert "connect-src 'self';" in relaying.get("/healthz").headers["content-security-policy"]


def test_a_ticket_is_only_good_as_it_was_given_out_and_for_a_time(relaying, client, monkeypatch):
    ticket = relaying.post("/v1/uploads").json()["fields"]["ticket"]

    def send(ticket: str, content: bytes = b"x", to: httpx.Client = relaying) -> httpx.Response:
        return to.post("/v1/uploads/relay", data={"ticket": ticket}, files={"file": ("a", content)})

    for forged in (ticket[:-4] + "AAAA", ("B" if ticket[0] == "A" else "A") + ticket[1:], "", "&", "ü"):
        assert_problem(send(forged), 403, "wrong_ticket")
    assert_problem(send(ticket, b"x" * 100_001), 413, "too_large")
    assert_problem(send(ticket, to=client), 403, "wrong_ticket")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 901)
    assert_problem(send(ticket), 403, "expired_ticket")


def test_a_relay_wants_a_form_with_ticket_and_file(relaying):
    assert_problem(relaying.post("/v1/uploads/relay", content=b"x"), 415, "not_a_form")
    assert_problem(relaying.post("/v1/uploads/relay", files={"file": ("a", b"x")}), 400, "malformed_body")
    form = {"ticket": (None, "x")}
    assert_problem(relaying.post("/v1/uploads/relay", files=form), 400, "malformed_body")


@pytest.mark.parametrize(
    "question",
    [
        {"label": "df"},
        {"label": "df", "status": "classified"},
        {"label": "df", "min_confidence": "0.4"},
        {"label": "df", "triage": "urgent"},
        {"status": "failed"},
    ],
)
@pytest.mark.parametrize("limit", [1, 7, 200])
def test_every_page_size_gives_each_entry_once_and_in_order(client, table, settings, question, limit):
    key = f"{settings.bucket}/pages-"
    for n in range(20):
        confidence = round(n / 20, 2)
        status = "classified" if n % 2 else "referred"
        table.put(record(f"{key}{n}", status=status, label="df", confidence=confidence))
        table.put(record(f"{key}{n}", status="failed", version=f"v{n}#1.0.1"))
    expected = {
        ("label",): range(20),
        ("label", "status"): range(1, 20, 2),
        ("label", "min_confidence"): range(8, 20),
        ("label", "triage"): range(20),
        ("status",): range(20),
    }[tuple(question)]
    found, cursor = [], None
    for _ in range(30):
        page = client.get(
            "/v1/predictions", params={**question, "limit": limit, **({"cursor": cursor} if cursor else {})}
        )
        assert page.status_code == 200, page.text
        found += page.json()["predictions"]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert cursor is None
    found = [entry for entry in found if entry["image"].startswith(key)]
    assert sorted(int(entry["image"].removeprefix(key)) for entry in found) == list(expected)
    order = "predicted_at" if question == {"status": "failed"} else "confidence"
    assert [entry[order] for entry in found] == sorted((entry[order] for entry in found), reverse=True)


def test_without_a_label_every_label_is_asked_for(client, table, settings, prefix):
    for label in ("mel", "vasc"):
        table.put(record(f"{settings.bucket}/{prefix}{label}", label=label, confidence=0.999))
    page = client.get("/v1/predictions", params={"min_confidence": 0.999}).json()
    found = [entry for entry in page["predictions"] if prefix in entry["image"]]
    assert {entry["label"] for entry in found} == {"mel", "vasc"}


def test_an_image_that_another_model_scored_again_is_listed_once_and_its_current_record_is_on_top(
    client, table, settings, prefix
):
    dynamodb = aws.client("dynamodb", settings.worker)
    image, label = f"{settings.bucket}/{prefix}/a.jpg", f"label-{prefix}"
    for model, confidence in (("new", 0.4), ("old", 0.9)):
        table.put(record(image, label=label, confidence=confidence, version=f"v1#{prefix}-{model}"))
    for model in ("old", "new"):
        enter(dynamodb, settings.table, f"{prefix}-{model}")

    def listed() -> list[float]:
        return [
            one["confidence"] for one in client.get("/v1/predictions", params={"label": label}).json()["predictions"]
        ]

    def on_top() -> float:
        return client.get("/v1/prediction", params={"image": image}).json()["records"][0]["confidence"]

    assert (listed(), on_top()) == ([0.4], 0.4)
    prefer(dynamodb, settings.table, f"{prefix}-old")
    assert (listed(), on_top()) == ([0.9], 0.9)


def test_days_are_those_of_the_prediction(client, table, settings, prefix, noon):
    for days in (0, 1, 5):
        written = iso8601(noon - timedelta(days=days))
        table.put(record(f"{settings.bucket}/{prefix}{days}", label="bcc", predicted_at=written))

    def days(**question: object) -> set[str]:
        entries = client.get("/v1/predictions", params={"label": "bcc", **question}).json()["predictions"]
        return {entry["image"].rpartition(prefix)[2] for entry in entries if prefix in entry["image"]}

    assert days() == {"0"}
    assert days(day=["2026-11-24", "2026-11-20"]) == {"1", "5"}
    assert days(since="2026-11-24") == {"0", "1"}


QUESTIONS = {
    "no such day": ({"day": "2026-02-30"}, "invalid_request"),
    "seconds for a day": ({"day": "1700000000"}, "invalid_request"),
    "no day": ({"since": "yesterday"}, "invalid_request"),
    "a day of an empty name": ({"day": ""}, "invalid_request"),
    "both": ({"day": "2026-11-25", "since": "2026-11-25"}, "invalid_request"),
    "too many days": ({"since": "1970-01-01", "label": "mel"}, "too_many_days"),
    "too many days of all labels": ({"since": "2026-11-05"}, "too_many_days"),
    "a label that is no code": ({"label": "mel#2026-11-25#1"}, "invalid_request"),
    "no status": ({"status": "done"}, "invalid_request"),
    "no number": ({"min_confidence": "nan"}, "invalid_request"),
    "more than all": ({"min_confidence": "1.5"}, "invalid_request"),
    "no page": ({"limit": "0"}, "invalid_request"),
    "a huge page": ({"limit": "99999999999999999999"}, "invalid_request"),
    "a filter that there is not": ({"lable": "mel"}, "invalid_request"),
    "a huge cursor": ({"cursor": "A" * 50_000}, "invalid_request"),
    "an empty cursor": ({"cursor": ""}, "wrong_cursor"),
    "a cursor that is none": ({"cursor": "xyz"}, "wrong_cursor"),
    "a cursor of nested lists": ({"cursor": base64.urlsafe_b64encode(b"[" * 3000).decode()}, "wrong_cursor"),
    "a cursor of numbers": ({"cursor": base64.urlsafe_b64encode(b"[1, 2, 3, 4]").decode()}, "wrong_cursor"),
}


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_question_that_makes_no_sense_is_422(client, kind, noon):
    question, code = QUESTIONS[kind]
    assert_problem(client.get("/v1/predictions", params=question), 422, code)


def test_a_cursor_belongs_to_its_question(client, table, settings, prefix):
    for n in range(2):
        table.put(record(f"{settings.bucket}/{prefix}{n}", label="akiec"))
    cursor = client.get("/v1/predictions", params={"label": "akiec", "limit": 1}).json()["next"]
    assert cursor
    assert client.get("/v1/predictions", params={"label": "akiec", "limit": 9, "cursor": cursor}).status_code == 200
    assert_problem(client.get("/v1/predictions", params={"label": "mel", "cursor": cursor}), 422, "wrong_cursor")


@pytest.mark.parametrize(
    ("days", "status"),
    [({"since": "2026-11-25"}, 200), ({"day": "2026-11-25"}, 200), ({}, 422)],
    ids=["since", "day", "today"],
)
def test_a_page_begun_before_midnight_goes_on_after_it_unless_it_asks_for_today(
    client, table, settings, prefix, monkeypatch, noon, days, status
):
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return noon + timedelta(days=1)

    for n in range(2):
        table.put(record(f"{settings.bucket}/{prefix}{n}", label="scc", predicted_at=iso8601(noon)))
    cursor = client.get("/v1/predictions", params={"label": "scc", "limit": 1, **days}).json()["next"]
    monkeypatch.setattr(records, "datetime", Tomorrow)
    response = client.get("/v1/predictions", params={"label": "scc", "limit": 1, "cursor": cursor, **days})
    assert response.status_code == status
    if status == 200:
        (entry,) = response.json()["predictions"]
        assert entry["label"] == "scc"
    else:
        assert_problem(response, 422, "wrong_cursor")


NAMES = [
    "a+b%20c ä/ü.jpg",
    "..",
    "../../etc/passwd",
    "%2e%2e%2f",
    "?image=x&y#z",
    "\N{SNOWMAN}" * 300,
    "a\nb",
    "//",
    "a" * 1024,
]


@pytest.mark.parametrize("key", NAMES)
def test_any_key_that_s3_takes_can_be_asked_for(client, table, settings, key):
    image = f"{settings.bucket}/{key}"
    assert_problem(client.get("/v1/prediction", params={"image": image}), 404, "no_record")
    table.put(record(image))
    (found,) = client.get("/v1/prediction", params={"image": image}).json()["records"]
    assert found["image"] == image


@pytest.mark.parametrize("key", ["a" * 1025, "\N{SNOWMAN}" * 342])
def test_a_key_that_s3_does_not_take_is_not_there(client, settings, key):
    for method, path in (("GET", "prediction"), ("DELETE", "prediction"), ("GET", "preview")):
        response = client.request(method, f"/v1/{path}", params={"image": f"{settings.bucket}/{key}"})
        assert_problem(response, 404, "no_record" if (method, path) == ("GET", "prediction") else "no_image")
    too_long = {"image": f"{settings.bucket}/{'a' * 1088}"}
    assert_problem(client.get("/v1/prediction", params=too_long), 422, "invalid_request")


def test_images_of_other_buckets_are_neither_shown_nor_erased(client, stack):
    s3 = stack.endpoint.client("s3")
    s3.create_bucket(Bucket="another-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="another-bucket", Key="a.jpg", Body=jpeg(1))
    s3.put_object(Bucket=stack.bucket, Key="a.jpg", Body=jpeg(1))
    for response in (
        client.get("/v1/preview", params={"image": "another-bucket/a.jpg"}),
        client.delete("/v1/prediction", params={"image": "another-bucket/a.jpg"}),
    ):
        assert_problem(response, 404, "no_image")
    for bucket in ("another-bucket", stack.bucket):
        assert s3.head_object(Bucket=bucket, Key="a.jpg"), "of the same key, too"


@pytest.mark.parametrize(("content", "code"), [(b"no image", "not_an_image"), (b"x" * 200_000, "too_large")])
def test_a_preview_of_what_is_no_image_is_422(relaying, stack, content, code):
    stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key=f"bad/{code}", Body=content)
    response = relaying.get("/v1/preview", params={"image": f"{stack.bucket}/bad/{code}"})
    assert_problem(response, 422, code)


def test_a_preview_of_a_tiff_shows_what_the_network_saw(client, stack, tiny_bundle):
    image = picture(5, (300, 200))
    stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key="a.tif", Body=encoded(image, "TIFF"))
    response = client.get("/v1/preview", params={"image": f"{stack.bucket}/a.tif", "side": 32})
    drawn = Image.open(io.BytesIO(response.content))
    seen = Classifier.load(tiny_bundle).decode(encoded(image, "TIFF")).pixels
    assert (list(drawn.get_flattened_data()) if hasattr(drawn, "get_flattened_data") else list(drawn.getdata())) == [
        tuple(pixel) for pixel in seen.reshape(-1, 3).tolist()
    ]


def test_a_store_that_is_not_there_is_503_and_names_nothing(settings):
    lost = replace(settings, table="no-such-table", bucket="no-such-bucket")
    with running(create_app(lost)) as connected:
        for path in ("/v1/predictions?label=mel", "/v1/prediction?image=no-such-bucket/anna.jpg"):
            response = connected.get(path)
            assert_problem(response, 503, "store_unavailable")
            assert int(response.headers["retry-after"]) >= 1
            assert "anna" not in response.text
        assert connected.post("/v1/classify", content=jpeg(1)).status_code == 200, "what needs no store works on"


def test_when_too_many_ask_the_store_the_next_is_503_and_knows_when_to_come_again(settings, monkeypatch):
    monkeypatch.setattr(service, "_QUESTIONS", 1)
    go_on = threading.Event()
    monkeypatch.setattr(records.Records, "history", lambda *_: go_on.wait(20) and [{"predicted_at": "", "status": "x"}])
    with running(create_app(replace(settings, waiting=1))) as narrow, ThreadPoolExecutor(2) as threads:
        asked = {"params": {"image": f"{settings.bucket}/a.jpg"}}
        waiting = [threads.submit(narrow.get, "/v1/prediction", **asked) for _ in range(2)]
        try:
            deadline = time.monotonic() + 20
            while narrow.service.asking.taken < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            for method, path, more in (
                ("GET", "/v1/prediction", asked),
                ("DELETE", "/v1/prediction", asked),
                ("GET", "/v1/predictions", {}),
                ("POST", "/v1/uploads", {}),
            ):
                refused = narrow.request(method, path, **more)
                assert_problem(refused, 503, "busy")
                assert int(refused.headers["retry-after"]) >= 1
            assert narrow.post("/v1/classify", content=jpeg(1)).status_code == 200, "a line of its own"
        finally:
            go_on.set()
        assert [one.result().status_code for one in waiting] == [200, 200]
        assert narrow.service.asking.taken == 0


def test_without_a_store_the_service_only_classifies(settings):
    with running(create_app(replace(settings, table=None, bucket=None))) as connected:
        assert_problem(connected.get("/v1/predictions"), 501, "no_store")
        assert_problem(connected.post("/v1/uploads"), 501, "no_store")
        assert connected.post("/v1/classify", content=jpeg(1)).status_code == 200


def test_the_content_security_policy_lets_a_page_send_to_the_bucket(client):
    place = urlsplit(client.post("/v1/uploads").json()["url"])
    policy = client.get("/healthz").headers["content-security-policy"]
    assert f"connect-src 'self' {place.scheme}://{place.netloc};" in policy
