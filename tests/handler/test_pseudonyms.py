"""Whoever guesses an image's name finds it neither in the log nor in the table, unless he has the stack's secret."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import boto3
import pytest
from s3_events import BUCKET, Put, queue_event, record
from sample_images import jpeg

from handler.errors import ConfigurationError
from handler.pseudonyms import Pseudonyms

KEY = "Jane-Doe-1971.jpg"


def _guesses(image: str) -> list[str]:
    """What somebody tries who knows the code but not the secret: first digits of hashes, plain and under no secret."""
    keyless = Pseudonyms(b"")
    plain = (hashlib.new(name, image.encode()).hexdigest() for name in ("sha256", "sha1", "md5", "sha512"))
    return [digest[:12] for digest in (*plain, keyless.in_log(image), keyless.in_mark(image))]


@pytest.fixture
def told(house, bucket, table, log):
    """Log and table after an upload was classified and removed."""
    put = bucket.put(KEY, jpeg(1))
    house.handle(queue_event(put))
    bucket.client.delete_object(Bucket=BUCKET, Key=KEY, VersionId=put.version)
    house.handle(queue_event({"Records": [record(Put(KEY, "", put.version), "ObjectRemoved:Delete")]}))
    items = house.rig.dynamodb.scan(TableName=house.rig.settings.predictions_table)["Items"]
    marks = [item for item in items if "removed_at" in item]
    assert len(marks) == 1
    assert not any("status" in item for item in items), "the record is erased, and the mark is left"
    return [line["image"] for line in log() if "image" in line], marks[0]["image"]["S"][1:]


def test_a_guessed_name_is_not_found(told):
    lines, mark = told
    assert len(lines) == 3
    assert len(set(lines)) == 1, "the upload's line and both functions' of the removal name the image alike"
    for guess in _guesses(f"{BUCKET}/{KEY}"):
        assert not any(name.startswith(guess) for name in (*lines, mark))
    assert not mark.startswith(lines[0]), "a line and a mark cannot be told to be about one image"


def test_with_the_secret_an_operator_finds_it(told, hash_secret):
    lines, mark = told
    pseudonyms = Pseudonyms.read(boto3.client("secretsmanager"), hash_secret)
    assert {pseudonyms.in_log(f"{BUCKET}/{KEY}")} == set(lines)
    assert pseudonyms.in_mark(f"{BUCKET}/{KEY}") == mark


def test_the_runbooks_command_gives_what_the_log_has(told, hash_secret):
    operations = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python3 -c '[^']+' \"\$BUCKET/[^\"]+\"$", operations, re.MULTILINE)
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=hash_secret)["SecretString"]
    variables = {"PATH": os.environ["PATH"], "HASH_SECRET": secret, "BUCKET": BUCKET}
    ran = ["sh", "-c", command.replace("clinic/lesion.jpg", KEY)]
    lines, _ = told
    assert subprocess.check_output(ran, env=variables, text=True).strip() == lines[0]


def test_a_secret_that_cannot_be_read_ends_the_start_in_one_sentence(make_rig):
    with pytest.raises(ConfigurationError, match=r"^HASH_SECRET_ARN cannot be used: .* ResourceNotFoundException\.$"):
        make_rig(HASH_SECRET_ARN="arn:aws:secretsmanager:eu-central-1:123456789012:secret:no-such")


def test_the_secret_is_not_shown_where_its_holder_is_printed():
    shown = repr(Pseudonyms(b"very secret"))
    assert "very secret" not in shown + json.dumps(shown)
