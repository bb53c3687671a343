"""What can be read off the page's files without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handler.store.record import NOTICE
from pictures import canvas

PAGE = Path(__file__).resolve().parents[2] / "api" / "page"
TEXTS = {path.relative_to(PAGE).as_posix(): path.read_text("utf-8") for path in PAGE.rglob("*.*")}
MODULES = {name: text for name, text in TEXTS.items() if name.endswith(".js")}
LIGHT, _, DARK = TEXTS["styles/colours.css"].partition("@media (prefers-color-scheme: dark)")


def variable(sheet: str, name: str) -> tuple[int, ...]:
    red, green, blue = re.search(rf"--{name}: rgb\((\d+) (\d+) (\d+)\)", sheet).groups()
    return int(red), int(green), int(blue)


def test_nothing_writes_html_from_strings():
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(.style"
    )
    assert not [name for name, text in MODULES.items() if forbidden.search(text)]


def test_no_script_or_style_is_inline():
    html = TEXTS["index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))


def test_nothing_comes_from_another_host():
    addresses = {found for text in TEXTS.values() for found in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)}
    assert addresses <= {"http://www.w3.org", "https://owasp.org"}  # a namespace, and a source in a comment


@pytest.mark.parametrize("name", ["index.html", "modules/words.js"])
def test_the_notice_is_the_records(name):
    assert NOTICE in TEXTS[name]


def test_a_label_is_never_called_a_diagnosis():
    assert not [name for name, text in TEXTS.items() if "diagnos" in text.lower()]


@pytest.mark.parametrize("status", canvas.STATUS)
def test_a_status_has_the_contact_sheets_colours(status):
    assert variable(LIGHT, status) == canvas.STATUS[status].strong
    assert variable(LIGHT, f"{status}-pale") == canvas.STATUS[status].pale


@pytest.mark.parametrize("name", ["ground", "card", "edge", "ink", "faint", "urgent"])
def test_the_ground_has_the_contact_sheets_colours(name):
    assert variable(LIGHT, name) == getattr(canvas, name.upper())


@pytest.mark.parametrize("sheet", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *[(status, f"{status}-pale") for status in canvas.STATUS],
        *[(status, "card") for status in canvas.STATUS],
        ("ink", "card"),
        ("ink", "faint"),
        ("muted", "card"),
        ("muted", "ground"),
        ("muted", "faint"),
        ("notice", "notice-pale"),
        ("on-strong", "strong"),
        ("on-urgent", "urgent"),
    ],
)
def test_text_can_be_read_on_its_ground(sheet, text, ground):
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    assert contrast(variable(with_light(sheet), text), variable(with_light(sheet), ground)) >= 4.5


@pytest.mark.parametrize("sheet", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["card", "ground"])
def test_controls_stand_out_from_their_ground(sheet, ground):
    """WCAG 2.2, 1.4.11: 3 to 1."""
    for name in ("control", "focus"):
        assert contrast(variable(with_light(sheet), name), variable(with_light(sheet), ground)) >= 3


def with_light(sheet: str) -> str:
    """What the dark sheet does not say stays as in the light one."""
    return sheet + LIGHT


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: tuple[int, ...]) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
