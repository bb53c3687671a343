"""Uploads when the worker or the disk misbehaves."""

from __future__ import annotations

import pytest
from sample_images import jpeg

from demo.files import DemoError
from demo.uploads import Uploads
from infra.embedded_aws import embedded_aws
from infra.stack import deploy

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stack():
    with embedded_aws() as endpoint:
        yield deploy(endpoint, parameters={"BatchSize": 8, "BatchWindowSeconds": 0, "MaxReceives": 2})


def test_uploads_that_get_no_record_end_the_run_with_a_reason_instead_of_a_wait_for_ever(stack, tmp_path, monkeypatch):
    monkeypatch.setattr("demo.uploads.SILENCE", 0.5)
    (tmp_path / "a.jpg").write_bytes(jpeg())

    def broken(event, context):
        raise RuntimeError("no memory left")

    run = Uploads(stack, broken, on_records=lambda _: None)
    with pytest.raises(DemoError, match=r"1 of 1 uploads without a record.*no memory left"):
        run.process({"a.jpg": tmp_path / "a.jpg"})


def test_a_file_that_vanished_is_named_and_the_others_go_on(stack, tmp_path):
    run = Uploads(stack, lambda event, context: None, on_records=lambda _: None)
    run.process({"gone.jpg": tmp_path / "gone.jpg"})
    assert run.unread == {"gone.jpg": "No such file or directory"}
    assert not run.records
