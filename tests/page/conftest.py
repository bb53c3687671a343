from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from page_service import CHROMIUM, Service, running
from sample_images import encoded

from demo.lesions import LOOKS, dermoscopy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with running() as one:
        yield one


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="NOT RUN: install requirements/browser.txt to try the page in a browser"
    )
    if CHROMIUM is None:
        pytest.skip("NOT RUN: no Chromium on this machine (Debian: apt-get install chromium)")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as running_playwright:
        chromium = running_playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if as_root else []
        )
        yield chromium
        chromium.close()


class Visit:
    """One browser's visit to the page: what it complained about is kept."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._hear(message.text))
        self.open()

    def open(self) -> None:
        self.page.goto(self.url)
        self.page.wait_for_selector("html[data-ready]")

    def upload(self, *files: tuple[str, bytes]) -> None:
        """Through the input that chooses from the library."""
        payload = [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
        self.page.set_input_files("#library", payload)

    def wait_for_answers(self, count: int, seconds: float = 60) -> None:
        self.page.wait_for_selector(f".card:nth-child({count})", timeout=10_000, state="attached")
        self.page.locator(".card:not(:has(.open))").first.wait_for(state="detached", timeout=seconds * 1000)

    def open_first_answer(self) -> Any:
        self.page.locator(".card .open").first.click()
        return self.page.get_by_role("dialog")

    def keys(self) -> list[str]:
        """What localStorage remembers."""
        return [entry["image"] for entry in json.loads(self.page.evaluate("() => localStorage['dermbatch.uploads']"))]

    def records(self) -> list[dict[str, Any]]:
        """The latest record of each upload, from the service itself."""
        answers = (self.page.request.get(f"{self.url}/v1/prediction", params={"image": key}) for key in self.keys())
        return [answer.json()["records"][0] for answer in answers]

    def _hear(self, text: str) -> None:
        # A 404 is how the service says that there is no record yet; the browser logs each.
        if "status of 404" not in text:
            self.complaints.append(text)


@pytest.fixture
def visiting(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens pages in fresh browsers; none may have had an error or a breach of the content security policy."""
    contexts, visits = [], []

    def visit(url: str, **options: Any) -> Visit:
        contexts.append(browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options)))
        visits.append(Visit(contexts[-1], url))
        return visits[-1]

    yield visit
    for context in contexts:
        context.close()
    assert [visit.complaints for visit in visits] == [[] for _ in visits]


@pytest.fixture
def visit(visiting: Callable[..., Visit], service: Service) -> Visit:
    return visiting(service.url)


@pytest.fixture(scope="session")
def lesions() -> list[tuple[str, bytes]]:
    """Rendered, so that the shipped model has something to say about each."""
    looks = sorted(LOOKS)
    return [
        (f"lesion {k}.jpg", encoded(dermoscopy(k, looks[k % len(looks)], 1 + k % 6), "JPEG", quality=90))
        for k in range(6)
    ]
