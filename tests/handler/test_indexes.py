"""The keys of the table's indexes."""

from __future__ import annotations

from sample_records import TODAY, a_record

from handler.store.record import SHARDS, index_keys, shards


def test_one_label_is_spread_over_all_shards_evenly_enough():
    """10,000 writes/s of one label, and 1,000 writes/s at most for one partition."""
    images = 10_000
    found = [index_keys(a_record(key=f"{n}.jpg"))["label_shard"] for n in range(images)]
    assert set(found) == set(shards("mel", [TODAY]))
    assert max(found.count(shard) for shard in set(found)) < 1_000
    assert SHARDS == 16


def test_a_classified_image_is_no_problem_and_a_rejected_one_has_no_label():
    assert set(index_keys(a_record(status="referred"))) == {"label_shard", "confidence_rank", "problem_shard"}
    assert set(index_keys({**a_record(), "status": "classified"})) == {"label_shard", "confidence_rank"}
    assert set(index_keys(a_record("rejected"))) == {"problem_shard"}
