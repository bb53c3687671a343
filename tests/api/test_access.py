"""Who may use the service on a machine, and the process that serves it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from running import running
from sample_images import jpeg
from test_classify import assert_problem

from api.access import LOOPBACK, KeyAccess
from api.app import create_app
from api.serving import serve
from handler.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
KEY = "a-key-of-at-least-sixteen"


@pytest.fixture
def access() -> KeyAccess:
    return KeyAccess(frozenset(LOOPBACK), KEY, "only-once")


@pytest.fixture
def guarded(settings, access) -> Iterator[httpx.Client]:
    with running(create_app(settings, access=access)) as connected:
        yield connected


def test_without_the_key_only_health_is_told(guarded):
    for method, path in (
        ("GET", "/v1/model"),
        ("POST", "/v1/classify"),
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/prediction"),
    ):
        response = guarded.request(method, path)
        assert_problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/healthz").status_code == guarded.get("/readyz").status_code == 200


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer \xfc", f"Bearer {KEY}x"])
def test_a_wrong_key_is_none(guarded, sent):
    response = guarded.get("/v1/model", headers={"Authorization": sent.encode("latin-1")})
    assert response.status_code == 401


def test_a_program_sends_the_key(guarded):
    response = guarded.post("/v1/classify", content=jpeg(1), headers={"Authorization": f"Bearer {KEY}"})
    assert response.status_code == 200


def test_the_printed_address_works_once_and_becomes_a_cookie(guarded):
    assert guarded.get("/", params={"token": "wrong"}).status_code == 401
    entered = guarded.get("/", params={"token": "only-once"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert KEY not in cookie
    assert guarded.get("/v1/model").status_code == 200, "the client keeps cookies"
    guarded.cookies.clear()
    assert guarded.get("/v1/model", headers={"Cookie": "dermbatch=guessed"}).status_code == 401
    assert_problem(guarded.get("/", params={"token": "only-once"}), 401, "unauthorized")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "localhost@evil.example"]
)
def test_under_a_foreign_name_nothing_is_answered(guarded, host):
    """DNS rebinding: a name of somebody else's that leads to 127.0.0.1."""
    response = guarded.get("/healthz", headers={"Host": host, "Authorization": f"Bearer {KEY}"})
    assert response.status_code in {400, 421}, "400 is the server's own"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:8000", "[::1]:8000"])
def test_the_names_of_this_machine_are_its_own(guarded, host):
    assert guarded.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_gets_nothing_even_with_the_key(guarded, headers):
    response = guarded.post("/v1/uploads", headers={"Authorization": f"Bearer {KEY}", **headers})
    assert_problem(response, 403, "foreign_origin")
    assert "access-control-allow-origin" not in response.headers


def test_its_own_page_is_let_in(guarded):
    own = str(guarded.base_url).rstrip("/")
    headers = {"Authorization": f"Bearer {KEY}", "Origin": own, "Sec-Fetch-Site": "same-origin"}
    assert guarded.post("/v1/uploads", headers=headers).status_code == 201


def test_every_answer_has_the_headers_that_guard_a_page(guarded):
    for response in (guarded.get("/healthz"), guarded.get("/v1/model"), guarded.get("/none")):
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;")
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "server" not in response.headers or response.headers["server"] == "uvicorn"
    assert guarded.get("/v1/model").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_a_host_of_the_network_demands_the_key(settings, host):
    with pytest.raises(ConfigurationError, match="needs its key"):
        serve(settings, host=host, port=0, key=False)


@contextlib.contextmanager
def process(environment: dict[str, str], *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`python -m api`, and the lines that it printed when it listened."""
    base = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    started = subprocess.Popen(
        [sys.executable, "-m", "api", "--port", "0", *options],
        cwd=ROOT,
        env=base | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout
        yield started, [started.stdout.readline() for _ in range(1 if "--no-key" in options else 2)]
    finally:
        started.kill()
        started.wait()


@contextlib.contextmanager
def _ready(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
        deadline = time.monotonic() + 20
        while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        yield client


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_process_prints_its_address_answers_and_ends_in_order(environment, stack, ending):
    with process(environment) as (served, (address, hint)):
        base, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\?token=(\S+)\n", address).groups()
        key = re.search(r"Bearer (\S+)", hint)[1]
        with _ready(base) as client:
            assert client.get("/v1/model").status_code == 401
            assert client.get("/v1/model", headers={"Authorization": f"Bearer {key}"}).status_code == 200
            assert client.get("/", params={"token": token}).status_code == 303
            place = client.post("/v1/uploads").json()
            assert place["url"] == "/v1/uploads/relay"
            image = f"{stack.bucket}/clinic/anna schmidt.jpg"
            assert client.get("/v1/prediction", params={"image": image}).status_code == 404
            assert client.get("/v1/preview", params={"image": image}).status_code == 404
        served.send_signal(ending)
        _, log = served.communicate(timeout=20)
        assert served.returncode == 0, log
    for secret in ("anna", key, token, place["fields"]["ticket"], place["image"].rpartition("/")[2]):
        assert secret not in log, "neither keys of images nor keys of the service are logged"
    assert log.count("GET /v1/prediction 404") == 1, log


def test_a_request_that_has_begun_is_answered_before_the_process_ends(environment):
    with process(environment, "--no-key") as (served, (address,)), _ready(address.strip()) as client:

        def slowly():
            yield jpeg(1)[:1000]
            served.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            yield jpeg(1)[1000:]

        assert client.post("/v1/classify", content=slowly()).status_code == 200
        assert served.wait(20) == 0


def test_the_key_may_be_given_and_is_then_not_printed(environment):
    with process(environment | {"DERMBATCH_KEY": KEY}) as (_, (address, hint)):
        assert KEY not in address + hint
        with _ready(address.partition("/?")[0]) as client:
            assert client.get("/v1/model", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"MODEL_BUNDLE": "/nowhere"}, "MODEL_BUNDLE must be"),
        ({"UPLOADS_BUCKET": ""}, "must be set together"),
        ({"DERMBATCH_KEY": "short"}, "DERMBATCH_KEY must"),
        ({"MODEL_BUNDLE": str(ROOT / "docs")}, "MODEL_BUNDLE cannot be used"),
        ({"AWS_DEFAULT_REGION": "no region"}, "AWS's settings cannot be used"),
    ],
)
def test_a_wrong_setting_ends_it_with_a_sentence_that_names_it(environment, changes, sentence):
    done = subprocess.run(
        [sys.executable, "-m", "api", "--port", "0"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environment | changes,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
