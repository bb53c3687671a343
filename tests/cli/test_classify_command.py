"""`dermbatch classify`: the worker's answers and records, without AWS."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from sample_images import jpeg, png

from cli.app import main
from handler.store.record import NOTICE
from model_layer import Classifier

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "record-1.json"


@pytest.fixture
def photos(tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODEL_BUNDLE", str(tiny_bundle))
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    for number in range(10):
        (folder / f"{number}.jpg").write_bytes(jpeg(seed=number))
    (folder / "b" / "=1+1.png").write_bytes(png(seed=11))
    (folder / "notes.txt").write_text("no image")
    return folder


def test_the_record_is_the_workers(photos, tiny_bundle, capsys):
    assert main(["classify", str(photos), "--json", "--exit-zero"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.*"))
    assert [record["object"]["key"] for record in records] == names
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    classifier = Classifier.load(tiny_bundle)
    for record in records:
        assert record.keys() == golden.keys()
        assert record["object"].keys() == golden["object"].keys()
        content = (photos / record["object"]["key"]).read_bytes()
        assert record["object"]["sha256"] == hashlib.sha256(content).hexdigest()
        (answer,) = classifier.classify([content])
        if record["status"] == "rejected":
            assert record["reasons"][0]["code"] == answer.code
        else:
            assert (record["label"], record["probabilities"]) == (answer.label, answer.probabilities)


def test_a_rejected_file_ends_with_1(photos, capsys):
    assert main(["classify", str(photos / "notes.txt")]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split() == ["notes.txt", "rejected", "-", "-", "-", "not_an_image"]
    assert NOTICE in captured.err
    assert main(["classify", str(photos / "0.jpg")]) == 0


def test_heat_maps_keep_the_folders_of_their_images(photos, tmp_path, capsys):
    out = tmp_path / "heat"
    main(["classify", str(photos), "--png", str(out), "--csv"])
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == sorted(
        [*(f"{number}.jpg.png" for number in range(10)), "b/=1+1.png.png"]
    )
    with Image.open(out / "b" / "=1+1.png.png") as picture:
        assert picture.size == (448, 448)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 12
    assert not any(row["file"].startswith("=") for row in rows)


def test_a_file_that_cannot_be_read_is_named(photos, capsys, monkeypatch):
    whole = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "3.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert main(["classify", str(photos), "--json"]) == 1
    captured = capsys.readouterr()
    assert "classify: 3.jpg can't be read: Permission denied." in captured.err
    assert len(captured.out.splitlines()) == 11


def test_a_file_above_the_limit_is_rejected_without_being_read(photos, capsys):
    with (photos / "large.jpg").open("wb") as file:
        file.truncate(33 * 2**20)
    assert main(["classify", str(photos / "large.jpg"), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["reasons"][0]["code"] == "too_large"
    assert record["object"]["bytes"] == 33 * 2**20


@pytest.mark.parametrize("arguments", [[], ["nothing-here.jpg"], [".", "--json", "--csv"], [".", "--bundle", "none"]])
def test_wrong_usage(arguments, capsys):
    assert main(["classify", *arguments]) == 2


def test_a_folder_that_is_no_bundle_is_one_sentence(photos, capsys):
    assert main(["classify", str(photos), "--bundle", str(photos)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
