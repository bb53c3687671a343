"""POST /v1/classify on a real socket: every kind of image, and whatever else a stranger may send."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from running import running
from sample_images import encoded, jpeg, picture, png

from api import app, bodies, problems
from api.app import create_app
from handler.store.record import NOTICE
from model_layer import Classifier, RejectionCode

JSON = "application/json"
PROBLEM = "application/problem+json"


def heic(seed: int = 1) -> bytes:
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture(seed)).save(buffer, quality=80)
    return buffer.getvalue()


FILES = {
    "jpeg": jpeg(1),
    "png": png(1),
    "heic": heic(),
    "tiff": encoded(picture(1), "TIFF"),
    "webp": encoded(picture(1), "WEBP"),
}


def assert_problem(response, status: int, code: str) -> dict:
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    problem = response.json()
    assert (problem["type"], problem["status"], problem["code"]) == ("about:blank", status, code)
    assert problem["title"]
    assert problem["detail"]
    assert problem["notice"] == NOTICE
    assert response.headers["dermbatch-notice"] == NOTICE
    return problem


@pytest.mark.parametrize("kind", FILES)
def test_an_image_gets_the_record_that_the_classifier_gives(client, tiny_bundle, kind):
    (expected,) = Classifier.load(tiny_bundle).classify([FILES[kind]])
    response = client.post("/v1/classify", content=FILES[kind])
    record = response.json()
    assert (response.status_code, response.headers["content-type"]) == (200, JSON)
    assert (record["status"], record["label"], record["probabilities"]) == (
        expected.status,
        expected.label,
        expected.probabilities,
    )
    assert record["object"] == {
        "bucket": None,
        "key": None,
        "version": None,
        "etag": None,
        "bytes": len(FILES[kind]),
        "sha256": hashlib.sha256(FILES[kind]).hexdigest(),
        "format": kind,
        "width": 160,
        "height": 120,
    }
    assert set(record["timings_ms"]) == {"decode", "infer"}
    assert (record["image"], record["version"], record["notice"]) == (None, None, NOTICE)
    assert record["request_id"] == response.headers["x-request-id"]


def test_the_fields_are_those_of_the_record_in_the_table(client):
    golden = json.loads((Path(__file__).parents[1] / "golden" / "record-1.json").read_text(encoding="utf-8"))
    record = client.post("/v1/classify", content=jpeg(1)).json()
    assert (list(record), list(record["object"])) == (list(golden), list(golden["object"]))


def test_a_form_gives_the_same_answer_as_the_body_itself(client):
    raw = client.post("/v1/classify", content=jpeg(2)).json()
    form = client.post("/v1/classify", files={"file": ("anna b.jpg", jpeg(2), "image/jpeg")}, data={"note": "x"}).json()
    differing = ("timings_ms", "request_id", "predicted_at")
    assert {k: v for k, v in raw.items() if k not in differing} == {k: v for k, v in form.items() if k not in differing}


BAD = {
    "empty": (b"", "empty"),
    "text": (b"no image at all" * 20, "not_an_image"),
    "half a jpeg": (jpeg(1)[:1500], "truncated"),
    "a pdf": (b"%PDF-1.7\n" + b"x" * 500, "unsupported_format"),
    "blank": (encoded(Image.new("RGB", (100, 100), (9, 9, 9)), "PNG"), "blank"),
    "tiny": (png(1, (8, 8)), "too_small"),
}


@pytest.mark.parametrize("bad", BAD)
def test_one_bad_image_is_422_with_code_and_sentence(client, bad):
    content, code = BAD[bad]
    problem = assert_problem(client.post("/v1/classify", content=content), 422, code)
    assert problem["detail"] == problem["record"]["reasons"][0]["sentence"]
    assert problem["record"]["status"] == "rejected"
    assert problem["detail"] == RejectionCode(code).sentence or code == "unsupported_format"


@pytest.mark.parametrize("accept", ["image/png", "image/png, application/json;q=0.5", "IMAGE/PNG;q=1.0"])
def test_a_picture_when_a_picture_is_wanted(client, accept):
    response = client.post("/v1/classify", content=heic(), headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    drawn = Image.open(io.BytesIO(response.content))
    assert (drawn.format, drawn.size, drawn.info["Comment"]) == ("PNG", (448, 448), NOTICE)
    assert response.headers["dermbatch-notice"] == NOTICE


@pytest.mark.parametrize(
    "accept", ["*/*", JSON, "application/json, image/png;q=0.5", "image/png;q=0", "q=;;,=", "text/html"]
)
def test_json_in_every_other_case(client, accept):
    response = client.post("/v1/classify", content=jpeg(1), headers={"Accept": accept})
    assert response.headers["content-type"] == JSON


def test_a_bad_image_is_a_problem_also_where_a_picture_is_wanted(client):
    assert_problem(client.post("/v1/classify", content=b"x" * 99, headers={"Accept": "image/png"}), 422, "not_an_image")


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


def file(content: bytes, name: bytes = b"file") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"; filename="a.jpg"\r\n\r\n' + content


FORMS = {
    "no boundary": (b"multipart/form-data", form(file(jpeg(1))), "malformed_body"),
    "another boundary": (b"multipart/form-data; boundary=c", form(file(jpeg(1))), "malformed_body"),
    "a long boundary": (b"multipart/form-data; boundary=" + b"b" * 999, form(file(jpeg(1))), "malformed_body"),
    "empty": (b"multipart/form-data; boundary=b", b"", "malformed_body"),
    "broken off": (b"multipart/form-data; boundary=b", form(file(jpeg(1)))[:-9], "malformed_body"),
    "no file": (
        b"multipart/form-data; boundary=b",
        form(b'Content-Disposition: form-data; name="a"\r\n\r\n1'),
        "malformed_body",
    ),
    "no headers": (b"multipart/form-data; boundary=b", form(b"\r\n" + jpeg(1)), "malformed_body"),
    "two files": (b"multipart/form-data; boundary=b", form(file(jpeg(1)), file(jpeg(2), b"other")), "several_files"),
    "many fields": (
        b"multipart/form-data; boundary=b",
        form(*[b'Content-Disposition: form-data; name="a"\r\n\r\n1'] * 40, file(jpeg(1))),
        "malformed_body",
    ),
}


@pytest.mark.parametrize("kind", FORMS)
def test_what_is_no_form_with_one_file_is_400(client, kind):
    content_type, body, code = FORMS[kind]
    assert_problem(client.post("/v1/classify", content=body, headers={"Content-Type": content_type}), 400, code)


@pytest.fixture(scope="module")
def narrow(settings):
    """A service that takes images of at most 100,000 bytes, and two at a time."""
    worker = replace(settings.worker, max_image_bytes=100_000, inference_threads=1)
    with running(create_app(replace(settings, worker=worker, waiting=1))) as connected:
        yield connected


def talk(client, head: bytes, *chunks: bytes, patience: float = 10) -> bytes:
    """What the service answers to these bytes, which are sent as they are."""
    address = urlsplit(str(client.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=patience) as connection:
        connection.sendall(head)
        for chunk in chunks:
            connection.sendall(chunk)
        answer = b""
        while received := connection.recv(65536):
            answer += received
            if _is_whole(answer):
                break
        return answer


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return bool(found) and bool(lengths) and len(body) >= int(lengths[0])


HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def test_a_gigabyte_that_is_announced_is_refused_before_it_comes(narrow):
    started = time.monotonic()
    answer = talk(narrow, HEAD + b"Content-Length: 1073741824\r\n\r\n", b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "too_large"
    assert time.monotonic() - started < 5


def test_an_endless_body_is_refused_at_the_byte_that_is_one_too_many(narrow):
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    answer = talk(narrow, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 14)
    assert answer.startswith(b"HTTP/1.1 413 "), "14 chunks of 8 KB, and no end"


@pytest.mark.parametrize(("size", "status"), [(100_000, 422), (100_001, 413)])
def test_the_limit_is_exact(narrow, size, status):
    assert narrow.post("/v1/classify", content=b"x" * size).status_code == status
    assert narrow.post("/v1/classify", files={"file": ("a", b"x" * size)}).status_code == status


def test_a_client_reads_its_answer_though_it_is_still_sending_but_is_not_listened_to_for_ever(narrow, monkeypatch):
    monkeypatch.setattr(problems, "_DRAIN_SECONDS", 0.5)
    address = urlsplit(str(narrow.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: 10000000000\r\n\r\n")
        time.sleep(0.1)  # the answer is there by now
        connection.sendall(b"x" * 1_000_000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
        deadline = time.monotonic() + 20
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"x" * 1000)
                time.sleep(0.02)
        assert time.monotonic() < deadline, "the connection was closed"


def test_a_body_that_does_not_come_is_408(narrow, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(problems, "_DRAIN_SECONDS", 0.1)
    answer = talk(narrow, HEAD + b"Content-Length: 1000\r\n\r\n", b"x")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert narrow.service.line.taken == 0


def test_when_every_place_is_taken_the_next_is_503_and_knows_when_to_come_again(narrow):
    held = [_hold(narrow) for _ in range(2)]
    try:
        _wait_for(lambda: narrow.service.line.taken == 2)
        busy = narrow.post("/v1/classify", content=jpeg(1))
        assert_problem(busy, 503, "busy")
        assert int(busy.headers["retry-after"]) >= 1
        assert narrow.get("/healthz").status_code == 200, "health takes no place"
    finally:
        for connection in held:
            connection.close()
    _wait_for(lambda: narrow.service.line.taken == 0)
    assert narrow.post("/v1/classify", content=jpeg(1)).status_code == 200, "clients that left have freed their places"


def _hold(client) -> socket.socket:
    """Takes a place, and sends only part of its body."""
    address = urlsplit(str(client.base_url))
    connection = socket.create_connection((address.hostname, address.port), timeout=10)
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 10)
    return connection


def _wait_for(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_work_of_a_client_that_left_is_never_begun_and_the_loop_is_never_blocked(narrow, monkeypatch):
    """One image occupies the only core; one waits behind it and leaves."""
    service = narrow.service
    begun, go_on = [], threading.Event()
    real = service.classify

    def slow(content: bytes, request_id: str):
        begun.append(content)
        go_on.wait(10)
        return real(content, request_id)

    monkeypatch.setattr(service, "classify", slow)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(narrow.post, "/v1/classify", content=jpeg(1))
        _wait_for(lambda: begun)
        address = urlsplit(str(narrow.base_url))
        with socket.create_connection((address.hostname, address.port), timeout=10) as second:
            second.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(jpeg(2)) + jpeg(2))
            _wait_for(lambda: service.line.taken == 2)
            started = time.monotonic()
            assert narrow.get("/healthz").status_code == 200
            assert time.monotonic() - started < 5, "while an image is computed"
        _wait_for(lambda: service.line.taken == 1)
        go_on.set()
        assert first.result().status_code == 200
    assert begun == [jpeg(1)]


def test_many_clients_at_once_all_get_their_own_answer(client):
    images = [jpeg(seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda image: client.post("/v1/classify", content=image), images))
    assert [answer.status_code for answer in answers] == [200] * 24
    assert [answer.json()["object"]["sha256"] for answer in answers] == [
        hashlib.sha256(image).hexdigest() for image in images
    ]


def test_an_image_that_there_is_no_memory_for_is_503_and_says_nothing_of_the_image(narrow, monkeypatch):
    def short(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(narrow.service.classifier, "decode", short)
        assert_problem(narrow.post("/v1/classify", content=jpeg(1)), 503, "out_of_memory")
    monkeypatch.setattr("api.service.overlay_png", short)
    response = narrow.post("/v1/classify", content=jpeg(1), headers={"Accept": "image/png"})
    assert_problem(response, 503, "out_of_memory")


def test_an_unforeseen_error_is_500_and_its_text_is_nowhere(narrow, monkeypatch, caplog):
    secret = f"clinic/anna-{time.monotonic_ns()}.jpg"  # not in a line of code that a traceback quotes

    def broken(*_: object) -> None:
        raise RuntimeError(secret)

    monkeypatch.setattr(narrow.service, "classify", broken)
    response = narrow.post("/v1/classify", content=jpeg(1))
    assert_problem(response, 500, "internal_error")
    assert secret not in response.text + caplog.text
    assert response.headers["x-request-id"] in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("PUT", "/v1/classify", 405, "method_not_allowed"),
        ("PUT", "/v1/prediction", 405, "method_not_allowed"),
        ("GET", "/v1/prediction?image=Not_A_Bucket/x", 422, "invalid_request"),
        ("GET", "/v1/prediction", 422, "invalid_request"),
        ("GET", "/v1/preview?image=abc/x&side=1", 422, "invalid_request"),
    ],
)
def test_every_error_is_problem_details(client, method, path, status, code):
    allowed = {"/v1/classify": "POST", "/v1/prediction": "DELETE, GET"}.get(path)
    response = client.request(method, path)
    problem = assert_problem(response, status, code)
    if status == 405:
        assert response.headers["allow"] == allowed
    if status == 422:
        assert problem["errors"][0]["where"]
        assert "Not_A_Bucket" not in response.text, "what was sent may be a key"


def test_before_the_model_is_there_the_service_lives_and_says_so(settings):
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    async def ask() -> None:
        transport = httpx.ASGITransport(create_app(settings))  # which does not start the application
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as early:
            assert (await early.get("/healthz")).json() == {"notice": NOTICE, "status": "alive"}
            for response in (await early.get("/readyz"), await early.post("/v1/classify", content=jpeg(1))):
                assert_problem(response, 503, "loading")
                assert response.headers["retry-after"] == "1"

    with ThreadPoolExecutor(1) as thread:  # Playwright's tests leave a running loop in this one
        thread.submit(asyncio.run, ask()).result()


def test_health_and_model_speak_of_what_runs(client, tiny_bundle):
    assert client.get("/readyz").json() == {"notice": NOTICE, "status": "ready"}
    model = client.get("/v1/model").json()
    bundle = Classifier.load(tiny_bundle).bundle
    assert (model["version"], model["digest"]) == (bundle.version, bundle.digest)
    assert [label["code"] for label in model["labels"]] == [label.code for label in bundle.labels]


def test_a_page_is_served_beside_the_endpoints_and_hides_none_of_their_errors(settings, tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "page.js").write_text("export {};")
    monkeypatch.setattr(app, "PAGE", tmp_path)
    with running(create_app(settings)) as connected:
        assert connected.get("/").headers["content-type"].startswith("text/html")
        script = connected.get("/page.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "script-src 'self'" in script.headers["content-security-policy"]
        assert_problem(connected.get("/nothing.js"), 404, "not_found")
        assert_problem(connected.get("/..%2fconftest.py"), 404, "not_found")
        for method, path, allowed in (("GET", "/v1/uploads", "POST"), ("PUT", "/v1/prediction", "DELETE, GET")):
            response = connected.request(method, path)
            assert_problem(response, 405, "method_not_allowed")
            assert response.headers["allow"] == allowed
