"""Hostile files take the whole way: bucket, event, worker, table. The decoder meets all of them in tests/hostile."""

from __future__ import annotations

import itertools

import pytest
from hostile.corpus import malformed
from s3_events import handed_back, queue_event

from model_layer import Prediction

EVERY = 25
"""Of the corpus: some 120 cases, of every format."""


@pytest.mark.slow
def test_each_upload_ends_in_the_record_that_its_bytes_deserve(rig, bucket, table):
    cases = {f"{number}/{name}.{kind}": data for number, (kind, name, data) in enumerate(malformed())}
    cases = dict(itertools.islice(cases.items(), 0, None, EVERY))
    puts = [bucket.put(key, data) for key, data in cases.items()]
    assert handed_back(rig.handle(queue_event(*puts))) == []
    found = {record["object"]["key"]: record for record in table.everything()}
    assert found.keys() == cases.keys()
    answers = dict(zip(cases, rig.classifier.classify(list(cases.values())), strict=True))
    for key, record in found.items():
        said = answers[key]
        if isinstance(said, Prediction):
            assert (record["status"], record["probabilities"]) == (said.status, said.probabilities), key
        else:
            assert (record["status"], record["reasons"][0]["code"]) == ("rejected", said.code), key
    assert {record["status"] for record in found.values()} > {"rejected"}


def test_a_file_above_the_default_limit_is_refused_without_being_read(rig, bucket, table):
    size = rig.settings.max_image_bytes + 1
    put = bucket.put("zeros.jpg", bytes(size))
    assert handed_back(rig.handle(queue_event(put))) == []
    (record,) = table.everything()
    assert record["reasons"][0]["code"] == "too_large"
    assert record["object"]["bytes"] == size
    assert record["object"].get("sha256") is None, "what is refused by its size is not downloaded"
