"""Which files are uploaded, and under which key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo.files import MAX_KEY_BYTES, DemoError, draw_synthetic, files_in, key_of
from demo.uploads import WAVE_FILES, waves


def test_every_regular_file_is_uploaded(tmp_path):
    names = ["b.jpg", ".hidden", "sub dir/täglich/a+b%20c.jpg", "no ending", "sub dir/.deep/皮膚.heic"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")  # reading one would wait for ever
    files = files_in(tmp_path)
    assert set(files) == {*names, "link.jpg"}
    assert all(files[name] == tmp_path / name for name in names)


def test_names_that_s3_cannot_take_get_a_key_of_their_own(tmp_path):
    for name in (b"latin\xe9.jpg", b"latin\xe8.jpg", b"latin\\xe9.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    files = files_in(tmp_path)
    assert len(files) == 3
    assert {path.read_bytes() for path in files.values()} == {b"latin\xe9.jpg", b"latin\xe8.jpg", b"latin\\xe9.jpg"}
    assert all(key.encode() for key in files)

    long = [f"{'folder/' * 200}{end}.jpg" for end in ("a", "b")]
    assert all(len(key_of(name).encode()) <= MAX_KEY_BYTES for name in long)
    assert key_of(long[0]) != key_of(long[1])
    assert key_of(long[0]).endswith("/a.jpg")
    assert len(key_of("é" * 512).encode()) == MAX_KEY_BYTES
    assert key_of("é" * 512) == "é" * 512


def test_the_demos_own_results_are_not_uploaded(tmp_path):
    out = tmp_path / "out"
    (out / "synthetic-images").mkdir(parents=True)
    for name in ("mine.jpg", "out/predictions.jsonl", "out/synthetic-images/a.jpg", "out/mine too.jpg"):
        (tmp_path / name).write_bytes(b"x")
    files = files_in(tmp_path, besides=(out / "predictions.jsonl", out / "synthetic-images"))
    assert set(files) == {"mine.jpg", "out/mine too.jpg"}


@pytest.mark.parametrize(("name", "sentence"), [
    ("nowhere", "There is no folder"), ("file", "is a file"), ("empty", "holds no files")
])  # fmt: skip
def test_a_folder_without_files_is_told_in_a_sentence(tmp_path, name, sentence):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(DemoError, match=sentence):
        files_in(tmp_path / name)


def test_earlier_drawings_are_neither_uploaded_nor_deleted(tmp_path):
    (tmp_path / "my own.jpg").write_bytes(b"x")
    files = draw_synthetic(tmp_path, seed=1, count=4)
    assert len(files) == 4
    assert all(path.is_file() for path in files.values())
    assert "my own.jpg" not in files
    assert (tmp_path / "my own.jpg").exists()


def test_waves_hold_every_file_once_and_never_more_than_memory_allows(tmp_path, monkeypatch):
    monkeypatch.setattr("demo.uploads.WAVE_BYTES", 1000)
    sizes = [400, 400, 400, 5000, 10, 10, 990, 1]
    files = {}
    for number, size in enumerate(sizes):
        files[str(number)] = tmp_path / str(number)
        files[str(number)].write_bytes(b"x" * size)
    files["gone"] = tmp_path / "gone"
    groups = [list(wave) for wave in waves(files)]
    assert groups == [["0", "1"], ["2"], ["3"], ["4", "5"], ["6", "7", "gone"]]

    many = {str(i): tmp_path / "0" for i in range(2 * WAVE_FILES + 1)}
    monkeypatch.setattr("demo.uploads.WAVE_BYTES", 10**9)
    assert [len(wave) for wave in waves(many)] == [WAVE_FILES, WAVE_FILES, 1]
