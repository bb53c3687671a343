"""The manifest of a submission survives every interruption, and no other file is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.manifest import Manifest, ManifestError, Sent, parse, read

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too: names that are not UTF-8
SENT = st.builds(
    Sent, file=TEXT, sha256=TEXT, bytes=st.integers(0), bucket=TEXT, key=TEXT, version=TEXT | st.none(), etag=TEXT,
    stack=TEXT,
)  # fmt: skip


def entry(file: str, **fields: object) -> Sent:
    given = {"sha256": "00", "bytes": 1, "bucket": "b", "key": file, "version": "v", "etag": "e", "stack": "s"}
    return Sent(file=file, **(given | fields))


@given(st.lists(SENT, max_size=4))
def test_the_last_line_about_a_file_counts(sent):
    assert parse("".join(one.line() for one in sent)) == {one.file: one for one in sent}


@given(st.lists(SENT, min_size=1, max_size=3), st.data())
def test_a_manifest_cut_off_anywhere_holds_all_whole_lines(sent, data):
    text = "".join(one.line() for one in sent)
    kept = text[: data.draw(st.integers(0, len(text)))]
    whole = kept.count("\n") + (kept != text and text[len(kept) :].startswith("\n"))
    assert parse(kept) == {one.file: one for one in sent[:whole]}


@given(TEXT)
def test_any_text_is_a_manifest_or_a_manifest_error(text):
    try:
        sent = parse(text)
    except ManifestError:
        return
    assert all(isinstance(one, Sent) for one in sent.values())


@pytest.mark.parametrize(
    "line",
    ["[]", "{}", "1", entry("a").line().replace('"v"', "1"), entry("a").line().replace(": 1", ': "1"'), "[" * 99_999],
)
def test_other_json_is_none(line):
    with pytest.raises(ManifestError, match="line 2"):
        parse(entry("b").line() + line.strip() + "\n")


def test_what_an_interruption_cut_off_is_replaced(tmp_path):
    file = tmp_path / "manifest.jsonl"
    file.write_text(entry("a").line() + entry("ü").line()[:-9])
    with Manifest(file) as manifest:
        assert list(manifest.sent) == ["a"]
        manifest.add(entry("c"))
    assert list(read(file)) == ["a", "c"]


def test_a_missing_newline_at_the_end_loses_nothing(tmp_path):
    file = tmp_path / "manifest.jsonl"
    file.write_text(entry("a").line().strip())
    with Manifest(file) as manifest:
        manifest.add(entry("b"))
    assert list(read(file)) == ["a", "b"]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 a photograph", b"some notes", b"some notes\n"])
def test_a_file_that_is_no_manifest_is_left_as_it_is(content, tmp_path):
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    with pytest.raises(ManifestError, match="no manifest"), Manifest(file):
        pass
    assert file.read_bytes() == content


def test_only_its_owner_may_read_it(tmp_path):
    with Manifest(tmp_path / "m") as manifest:
        manifest.add(entry("Jane Doe.jpg"))
    assert manifest.file.stat().st_mode & 0o077 == 0
