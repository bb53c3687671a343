"""`submit`, `results`, `show`, `erase` and `export` on a local stack with a real worker, as a person uses them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from sample_images import jpeg, png
from stored_items import SCHEMAS, golden_item

from cli import submit as module
from cli.app import main
from cli.deployed import Account, find
from cli.following import _is_settled
from cli.manifest import NAME, read
from cli.results import QuestionError, days_of
from handler.store.record import NOTICE
from handler.store.table import PredictionsTable

if TYPE_CHECKING:
    from infra.embedded_aws import Endpoint

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
UGLY = "é a+b %20 ?#&='x.jpg"


@pytest.fixture
def run(local_stack: Endpoint, capsys):
    """Runs the command on the local stack: its exit code, stdout and stderr."""

    def call(*arguments: object) -> SimpleNamespace:
        code = main([*map(str, arguments), "--local"])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err, rows=_rows(captured.out))

    return call


def _rows(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs, one that is broken off, and what an operating system leaves beside them."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(jpeg(seed=1, size=(320, 240)))
    (folder / "deeper" / UGLY).write_bytes(png(seed=2))
    (folder / "broken.jpg").write_bytes(jpeg(seed=3)[:900])
    (folder / ".DS_Store").write_bytes(b"\0" * 99)
    return folder


def _versions(local_stack: Endpoint, prefix: str) -> list[tuple[str, str]]:
    stack = find("dermbatch", Account(local=True))
    found = local_stack.client("s3").list_object_versions(Bucket=stack.bucket, Prefix=prefix)
    return [(version["Key"], version["VersionId"]) for version in found.get("Versions", [])]


# submit


def test_each_file_is_followed_to_its_state_and_a_second_run_sends_nothing(run, photos, local_stack):
    first = run("submit", photos, "--prefix", "twice/", "--wait", "60", "--json")
    assert first.code == 1, "one is rejected"
    assert NOTICE in first.err
    by_file = {row["file"]: row for row in first.rows}
    assert list(by_file) == ["a.jpg", "broken.jpg", f"deeper/{UGLY}"]
    assert by_file["broken.jpg"]["status"] == "rejected"
    assert by_file["broken.jpg"]["reasons"][0]["code"] == "truncated"
    assert by_file["a.jpg"]["status"] in {"classified", "referred"}
    sent = read(photos / NAME)
    assert sorted((one.key, one.version) for one in sent.values()) == sorted(_versions(local_stack, "twice/"))
    assert by_file["a.jpg"]["version"].startswith(f"{sent['a.jpg'].version}#")

    second = run("submit", photos, "--prefix", "twice/")
    assert (second.code, second.out) == (0, f"{photos / NAME}\n")
    assert "0 sent, 3 there already, 0 not sent, 1 hidden" in second.err
    assert len(_versions(local_stack, "twice/")) == 3
    assert run("submit", photos, "--prefix", "twice/", "--wait", "60", "--exit-zero").code == 0


def test_a_lost_manifest_is_written_again_without_sending(run, photos, local_stack):
    run("submit", photos, "--prefix", "lost/")
    before = read(photos / NAME)
    (photos / NAME).unlink()
    assert "0 sent, 3 there already" in run("submit", photos, "--prefix", "lost/").err
    assert read(photos / NAME) == before


def test_a_changed_file_becomes_a_new_version(run, photos, local_stack):
    run("submit", photos / "a.jpg", "--prefix", "changed/")
    (photos / "a.jpg").write_bytes(jpeg(seed=9))
    assert "1 sent, 0 there already" in run("submit", photos / "a.jpg", "--prefix", "changed/").err
    assert len(_versions(local_stack, "changed/a.jpg")) == 2
    shown = run("submit", photos / "a.jpg", "--prefix", "changed/", "--wait", "60", "--json")
    assert shown.rows[0]["version"].startswith(read(photos / NAME)["a.jpg"].version)


def test_another_persons_image_is_never_overwritten(run, photos, tmp_path, local_stack):
    run("submit", photos, "--prefix", "taken/")
    others = tmp_path / "others"
    others.mkdir()
    (others / "a.jpg").write_bytes(jpeg(seed=7))
    refused = run("submit", others, "--prefix", "taken/")
    assert refused.code == 1
    assert "another file is in the bucket as taken/a.jpg; choose another --prefix" in refused.err
    assert len(_versions(local_stack, "taken/a.jpg")) == 1
    assert run("submit", others, "--prefix", "taken/", "--exit-zero").code == 0


def test_hashed_keys_hold_no_file_name_and_equal_files_are_one_object(run, photos, local_stack):
    (photos / "Jane Doe.jpg").write_bytes((photos / "a.jpg").read_bytes())
    hashed = run("submit", photos, "--prefix", "hashed/", "--hash-keys", "--wait", "60", "--json")
    assert len(hashed.rows) == 4
    keys = {key for key, _ in _versions(local_stack, "hashed/")}
    assert keys == {f"hashed/{one.sha256}" for one in read(photos / NAME).values()}
    assert len(keys) == 3


def test_what_cannot_be_read_is_named_and_the_others_go(run, photos, monkeypatch):
    whole = Path.open

    def refuse(path: Path, *arguments: object, **options: object):
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    told = run("submit", photos, "--prefix", "unread/")
    assert told.code == 1
    assert "submit: a.jpg was not sent: Permission denied." in told.err
    assert "2 sent" in told.err


def test_an_interruption_forgets_no_upload(photos, local_stack, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    command = [sys.executable, "-m", "cli", "submit", str(many), "--local", "--prefix", "stopped/"]

    def more_files() -> None:
        there = len(list(many.glob("*.jpg")))
        for number in range(there, there + 150):
            (many / f"{number:04}.jpg").write_bytes(b"%d" % number)

    def interrupted(stop: signal.Signals) -> tuple[int, str]:
        """The command with 150 files to send, stopped when it has sent some of them."""
        more_files()
        before = (many / NAME).stat().st_size if (many / NAME).exists() else 0
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # A shell's background job inherits an ignored SIGINT; this one must not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )  # fmt: skip
        while process.poll() is None and (not (many / NAME).exists() or (many / NAME).stat().st_size < before + 5_000):
            time.sleep(0.02)
        process.send_signal(stop)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    for stop in (signal.SIGINT, signal.SIGKILL):
        for _ in range(5):  # on a busy machine it may be done before the signal arrives
            code, err = interrupted(stop)
            if code:
                break
        assert code == (130 if stop == signal.SIGINT else -stop)
        if stop == signal.SIGINT:
            assert err.endswith("the same command sends the rest.\n")
            assert {one.key for one in read(many / NAME).values()} == {
                key for key, _ in _versions(local_stack, "stopped/")
            }
    files = len(list(many.glob("*.jpg")))
    rest = subprocess.run(
        [*command, "--wait", "90", "--exit-zero"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert rest.stdout.count("not_an_image") == files
    assert len(_versions(local_stack, "stopped/")) == len(read(many / NAME)) == files


def test_wait_that_runs_out_ends_with_3(run, photos, monkeypatch):
    monkeypatch.setattr(module, "follow", lambda table, precedence, s3, sent, seconds, _: ({}, set(sent)))
    late = run("submit", photos, "--prefix", "late/", "--wait", "5", "--csv", "--exit-zero")
    assert late.code == 3
    assert "3 files had no final record after 5 seconds" in late.err
    assert [row["status"] for row in csv.DictReader(io.StringIO(late.out))] == ["waiting"] * 3


def test_a_failed_record_settles_only_after_a_while():
    now = datetime.now(UTC)
    failed = {"status": "failed", "predicted_at": now.isoformat()}
    assert not _is_settled(failed)
    assert _is_settled(failed | {"predicted_at": (now - timedelta(minutes=2)).isoformat()})
    assert _is_settled(failed | {"status": "rejected"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["submit", "{empty}"], "submit: There are no files in"),
        (["submit", "{photos}", "--prefix", "a\nb"], "submit: --prefix is too long"),
        (["submit", "{photos}", "--manifest", "{photos}/a.jpg"], "a.jpg is no manifest of a submission."),
        (["results", "--manifest", "{photos}/none"], "results: There is no manifest"),
        (["results", "--day", "yesterday"], "results: 'yesterday' is no date; write it as 2026-11-23."),
        (["results", "--cursor", "x"], "results: --cursor is not one of this question"),
        (["export", "--since", "1999-01-01"], "export: --since reaches back 366 days at most"),
    ],
)
def test_wrong_options_are_one_sentence_and_exit_2(run, photos, tmp_path, arguments, sentence):
    (tmp_path / "empty").mkdir()
    wrong = run(*(argument.format(photos=photos, empty=tmp_path / "empty") for argument in arguments))
    assert wrong.code == 2
    assert sentence in wrong.err.splitlines()[-1]
    assert not wrong.out


# results, show, erase, export


@pytest.fixture
def submitted(run, photos: Path) -> Path:
    """The manifest of a submission in which every file has its record."""
    assert run("submit", photos, "--prefix", f"{photos.parent.name}/", "--wait", "60").code == 1
    return photos / NAME


def test_results_of_a_submission_by_file(run, submitted):
    every = run("results", "--manifest", submitted, "--json")
    assert every.code == 0
    assert [row["file"] for row in every.rows] == ["a.jpg", "broken.jpg", f"deeper/{UGLY}"]
    assert [row["file"] for row in run("results", "--manifest", submitted, "--status", "rejected", "--json").rows] == [
        "broken.jpg"
    ]
    assert len(run("results", "--manifest", submitted, "--limit", "2", "--json").rows) == 2
    assert len(run("results", "--manifest", submitted, "--min-confidence", "0", "--json").rows) == 2
    table = run("results", "--manifest", submitted).out.splitlines()
    assert table[0].split() == ["file", "status", "label", "confidence", "triage", "reasons"]
    assert len(table) == 4


def test_results_by_label_page_by_page_without_a_scan(run, submitted, local_stack, monkeypatch):
    monkeypatch.setattr(PredictionsTable, "everything", None)
    every = run("results", "--limit", "1000", "--json").rows
    assert {"a.jpg", UGLY} <= {row["image"].rpartition("/")[2] for row in every}
    pages, cursor = [], []
    while True:
        page = run("results", "--limit", "2", "--json", *cursor)
        pages += page.rows
        if "--cursor " not in page.err:
            break
        cursor = ["--cursor", page.err.rpartition("--cursor ")[2].strip()]
    assert pages == every
    assert [row["confidence"] for row in every] == sorted((row["confidence"] for row in every), reverse=True)
    label = every[0]["label"]
    assert run("results", "--label", label, "--limit", "1000", "--json").rows == [
        row for row in every if row["label"] == label
    ]
    least = every[len(every) // 2]["confidence"]
    sure = run("results", "--min-confidence", least, "--limit", "1000", "--json").rows
    assert sure == [row for row in every if row["confidence"] >= least]


def test_results_by_status_and_day(run, submitted):
    rejected = run("results", "--status", "rejected", "--csv")
    rows = list(csv.DictReader(io.StringIO(rejected.out)))
    assert {row["reasons"] for row in rows} >= {"truncated"}
    assert run("results", "--day", "2020-02-29", "--json").rows == []
    today = datetime.now(UTC).date()
    assert run("results", "--since", today - timedelta(days=1), "--status", "rejected", "--csv").out == rejected.out


def test_a_table_names_images_by_their_keys(run, submitted):
    head, *rows = run("results", "--status", "rejected", "--limit", "1000").out.splitlines()
    assert head.split() == ["image", "status", "reasons", "predicted", "at"]
    key = read(submitted)["broken.jpg"].key
    assert [row.split()[1:3] for row in rows if row.startswith(f"{key} ")] == [["rejected", "truncated"]]


def test_a_label_that_the_bundle_does_not_have_is_said(run):
    told = run("results", "--label", "melanoma")
    assert told.code == 0
    assert "'melanoma' is no label of the model bundle, which has nv, mel" in told.err


def test_days():
    today = datetime(2026, 11, 25, tzinfo=UTC).date()
    assert days_of([], None, today) == [today]
    assert days_of([], "2026-11-24", today) == [today - timedelta(days=1), today]
    assert days_of(["2026-11-20", "2026-11-20", "2026-01-01"], None, today)[0].month == 1
    for wrong in ((["2026-11-20"], "2026-11-20"), ([], "2026-11-26"), (["2026-02-30"], None)):
        with pytest.raises(QuestionError):
            days_of(*wrong, today)


def test_show_reads_like_a_letter_and_draws_the_heat_map(run, submitted, tmp_path):
    key = read(submitted)["a.jpg"].key
    shown = run("show", key, "--png", tmp_path / "heat.png")
    assert shown.code == 0
    assert shown.out.startswith(f"dermbatch-images/{key}\n")
    for word in ("status", "label", "triage", "jpeg of 320 x 240 pixels", "tiny", NOTICE):
        assert word in shown.out
    with Image.open(tmp_path / "heat.png") as picture:
        assert picture.size == (448, 448)
        assert picture.getextrema()[0] != picture.getextrema()[1], "it has colours"
        assert picture.info == {"Comment": NOTICE}
    (record,) = run("show", f"s3://dermbatch-images/{key}", "--json").rows
    assert record["schema"] == 1
    assert run("show", f"dermbatch-images/{key}", "--json").rows == [record]


def test_show_says_why_there_is_nothing_to_show(run, submitted, tmp_path):
    missing = run("show", "no/such.jpg")
    assert (missing.code, missing.out) == (1, "")
    assert "There is no record of no/such.jpg" in missing.err
    broken = run("show", read(submitted)["broken.jpg"].key, "--png", tmp_path / "heat.png")
    assert broken.code == 1
    assert "No record of this image has a heat map, because the model gave no label." in broken.err
    assert "truncated: The image breaks off" in broken.out


def test_erase_asks_first_and_leaves_nothing(run, submitted, local_stack, monkeypatch):
    key = read(submitted)["a.jpg"].key
    for answer in ("n\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        kept = run("erase", key)
        assert kept.code == 1
        assert f"Erase {key} from s3://dermbatch-images" in kept.err
    assert len(_versions(local_stack, key)) == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    erased = run("erase", key)
    assert (erased.code, erased.out) == (0, f"{key}: 1 version and 1 record erased\n")
    assert _versions(local_stack, key) == []
    assert run("show", key).code == 1
    assert run("erase", key, "--yes").code == 1, "there is nothing left"
    (row,) = [row for row in run("results", "--manifest", submitted, "--json").rows if row["file"] == "a.jpg"]
    assert row["status"] == "gone"
    assert run("submit", submitted.parent, "--prefix", key.removesuffix("a.jpg"), "--wait", "60").code == 1
    assert _versions(local_stack, key) == [], "what was erased is not sent again"


def test_erase_takes_every_version_and_no_other_key(run, submitted, local_stack):
    key = read(submitted)["a.jpg"].key
    s3 = local_stack.client("s3")
    s3.put_object(Bucket="dermbatch-images", Key=f"{key}.copy", Body=jpeg(seed=5))
    s3.delete_object(Bucket="dermbatch-images", Key=key)
    s3.put_object(Bucket="dermbatch-images", Key=key, Body=jpeg(seed=6))
    other = run("erase", "s3://elsewhere/a.jpg", "--yes")
    assert other.code == 1
    assert "nothing was erased" in other.err
    assert run("erase", key, "--yes").out.startswith(f"{key}: 3 versions and ")
    assert [found for found, _ in _versions(local_stack, key)] == [f"{key}.copy"]


def test_export_has_every_record_of_the_day_once(run, submitted, tmp_path, local_stack):
    stack = find("dermbatch", Account(local=True))
    table = PredictionsTable(local_stack.client("dynamodb"), stack.table)
    # An image that another test has just erased may leave a record for as long as the housekeeper needs.
    deadline = time.monotonic() + 60
    everything = list(table.everything())
    while any(record["status"] == "superseded" for record in everything):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        everything = list(table.everything())
    exported = run("export").rows
    assert len(exported) == len(everything)
    assert all(record in everything for record in exported)
    out = run("export", "--out", tmp_path / "table.csv")
    assert (out.code, out.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(encoding="utf-8"), newline="")))
    assert len(rows) == len(everything)
    assert set(rows[0]) >= {"image", "label", "probabilities", "sha256", "model_version"}
    run("export", "--out", tmp_path / "folder")
    (file,) = (tmp_path / "folder").rglob("*.*")
    assert file.name == "records.jsonl"
    assert file.parent.name == f"day={datetime.now(UTC).date()}"
    assert len(_rows(file.read_text(encoding="utf-8"))) == len(everything)


def test_export_to_parquet_has_the_same_records_with_numbers_times_and_lists(run, submitted, tmp_path, arrow):
    everything = {row["image"]: row for row in run("export").rows}
    file = tmp_path / "records.parquet"
    assert run("export", "--out", file).code == 0
    rows = {row["image"]: row for row in arrow.parquet.read_table(file).to_pylist()}
    assert rows.keys() == everything.keys()
    for image, row in rows.items():
        record = everything[image]
        assert row["confidence"] == record["confidence"]
        assert row["predicted_at"] == datetime.fromisoformat(record["predicted_at"])
        assert row["reasons"] == record["reasons"]
        assert row["prediction_set"] == record["prediction_set"]
        assert (row["probabilities"] and dict(row["probabilities"])) == record["probabilities"]
        assert (row["key"], row["bytes"]) == (record["object"]["key"], record["object"]["bytes"])
    assert any(row["confidence"] for row in rows.values())
    assert any(row["confidence"] is None for row in rows.values())
    assert run("export", "--out", tmp_path / "folder", "--format", "parquet").code == 0
    assert [found.name for found in (tmp_path / "folder").rglob("*.*")] == ["records.parquet"]


def test_parquet_of_a_day_without_records_has_the_same_columns(run, submitted, tmp_path, arrow):
    for name, day in (("full", str(datetime.now(UTC).date())), ("empty", "2020-01-01")):
        assert run("export", "--day", day, "--out", tmp_path / f"{name}.parquet").code == 0
    full, empty = (arrow.parquet.read_table(tmp_path / f"{name}.parquet") for name in ("full", "empty"))
    assert empty.num_rows == 0 < full.num_rows
    assert empty.schema == full.schema


def test_parquet_without_its_package_is_one_sentence_that_names_the_set(run, submitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    ended = run("export", "--format", "parquet", "--out", tmp_path / "records")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "'.[parquet]'" in ended.err
    assert "requirements/parquet.txt" in ended.err
    assert list(tmp_path.glob("records*")) == []


def test_export_into_a_pipe_writes_to_it(run, submitted, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    # Into a file: a pipe that nobody reads yet would fill, and this process would wait for it for ever.
    with (tmp_path / "read").open("wb") as read_into:
        reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=read_into)
        try:
            assert run("export", "--out", tmp_path / "pipe").code == 0
            reader.wait(30)
        finally:
            reader.kill()
            reader.wait()
    assert len(_rows((tmp_path / "read").read_text(encoding="utf-8"))) == len(run("export").rows)
    assert (tmp_path / "pipe").is_fifo()


def test_export_learns_the_labels_of_other_models_from_the_records(run, submitted, local_stack, tmp_path):
    """A bundle of one's own has labels that the shipped one lacks; none of its records is left out."""
    folder = tmp_path / "other-labels"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"labels": [{"code": "unknown"}]}')
    every = run("export").rows
    labelled = {row["image"] for row in every if row["status"] == "referred"}
    assert labelled, "the tiny bundle refers some images, and from them come the labels"
    assert {row["image"] for row in run("export", "--bundle", folder).rows} == {row["image"] for row in every}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_records_that_an_older_worker_wrote_read_like_all_others(run, local_stack, schema):
    golden = json.loads((ROOT / "tests" / "golden" / "record-1.json").read_text(encoding="utf-8"))
    stack = find("dermbatch", Account(local=True))
    local_stack.client("dynamodb").put_item(TableName=stack.table, Item=golden_item(schema))
    image = golden["image"]
    assert run("show", image, "--json").rows == [golden]
    assert "confidence of 43%" in run("show", image).out
    assert run("export", "--day", "2026-11-23").rows == [golden]
    for asked in (["--status", "referred"], ["--label", "mel"]):
        (row,) = run("results", "--day", "2026-11-23", *asked, "--json").rows
        assert all(golden[name] == value for name, value in row.items() if value is not None)
    assert (
        run("results", "--day", "2026-11-23", "--status", "referred", "--json").rows[0]["reasons"] == golden["reasons"]
    )
    assert run("erase", image, "--yes").out.endswith("0 versions and 1 record erased\n")
    assert run("show", image).code == 1


# Where AWS is


def test_without_credentials_region_or_stack_one_sentence_and_4(tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DERMBATCH_"))}
    clean |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "DERMBATCH_STATE": str(tmp_path)}
    region = ["--region", "eu-central-1"]
    dead = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    for options, more, sentence in (
        ([], {}, "You must specify a region; give --region"),
        (
            region,
            {},
            "Unable to locate credentials; set up AWS credentials, choose some with --profile, or use --local.",
        ),
        (["--profile", "none", *region], {}, "The config profile (none) could not be found."),
        (["--local"], {}, "No local stack runs on this machine; start one with: dermbatch serve --local"),
        (region, dead, "Could not connect to the endpoint URL"),
    ):
        command = [sys.executable, "-m", "cli", "results", *options]
        told = subprocess.run(
            command, cwd=ROOT, env=clean | more, capture_output=True, text=True, timeout=60, check=False
        )
        assert told.returncode == 4
        assert sentence in told.stderr
        assert told.stderr.count("\n") == 1
        assert not told.stdout


def test_a_stack_that_is_not_there(run):
    told = run("results", "--stack", "nosuch")
    assert told.code == 4
    assert told.err.startswith("results: The stack nosuch can't be described: ")


def test_the_stack_is_named_by_the_environment_too(run, monkeypatch):
    monkeypatch.setenv("DERMBATCH_STACK", "from-the-environment")
    assert "The stack from-the-environment can't" in run("results").err
