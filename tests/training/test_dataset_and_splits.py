"""Labelled folders are read whole or refused in a sentence, and never leak from one split to another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_folders import write_labelled_folder

from training.dataset import LabelledImage, read_folders
from training.errors import TrainingError
from training.material import Material
from training.pixels import decoded_squares, pixel_digest
from training.run_folder import claim
from training.sampling import draw, draw_probabilities, source_shares
from training.splits import (
    CALIBRATION,
    TRAIN,
    VALIDATION,
    connected_groups,
    read_splits,
    refuse_leak,
    split,
    write_splits,
)


def image(number: int, *, source="derm", label=0, lesion="", patient="") -> LabelledImage:
    groups = tuple(f"{source}/{kind}/{name}" for kind, name in (("lesion", lesion), ("patient", patient)) if name)
    return LabelledImage(
        source, f"i{number}", Path(f"i{number}.jpg"), label, groups[0] if groups else str(number), groups
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_lesion_patient_or_identical_image_is_on_two_sides(seed):
    rng = np.random.default_rng(seed)
    lesions = rng.integers(240, size=400)
    # A patient has up to three lesions, and here and there two patients' images are one and the same.
    images = [image(i, label=int(rng.integers(3)), lesion=f"L{n}", patient=f"P{n // 3}") for i, n in enumerate(lesions)]
    digests = [f"d{rng.integers(4000)}" for _ in images]
    splits = split(images, digests, seed)
    sides: dict[str, set[str]] = {}
    for one, digest, side in zip(images, digests, splits, strict=True):
        for key in (*one.groups, digest):
            sides.setdefault(key, set()).add(side)
    assert all(len(where) == 1 for where in sides.values())


def test_splits_keep_every_class_of_every_kind_in_proportion():
    rng = np.random.default_rng(0)
    images = [image(i, label=int(rng.choice(4, p=[0.7, 0.2, 0.07, 0.03])), lesion=f"L{i // 2}") for i in range(2000)]
    images += [image(i, source="phone", label=int(rng.integers(2)), lesion=f"L{i}") for i in range(300)]
    splits = split(images, [str(i) for i in range(len(images))], seed=1)
    for source, label in {(i.source, i.label) for i in images}:
        own = Counter(s for i, s in zip(images, splits, strict=True) if (i.source, i.label) == (source, label))
        total = sum(own.values())
        assert own[VALIDATION] / total == pytest.approx(0.20, abs=0.06)
        assert own[CALIBRATION] / total == pytest.approx(0.15, abs=0.06)
        assert own[TRAIN] / total == pytest.approx(0.65, abs=0.06)


def test_splits_are_the_same_for_the_same_seed_and_survive_the_file(tmp_path):
    images = [image(i, label=i % 3) for i in range(200)]
    digests = [str(i) for i in range(200)]
    first = split(images, digests, seed=5)
    assert first == split(images, digests, seed=5)
    assert first != split(images, digests, seed=6)
    write_splits(tmp_path / "splits.csv", images, first)
    assert read_splits(tmp_path / "splits.csv") == {("derm", f"i{i}"): s for i, s in enumerate(first)}


def test_images_that_were_learned_from_are_never_taken_for_unseen():
    """One more folder, and the same seed deals most images out otherwise."""
    images = [image(i, label=i % 3) for i in range(400)]
    former = split(images, [str(i) for i in range(400)], seed=5)
    known = {(i.source, i.image_id): s for i, s in zip(images, former, strict=True)}
    refuse_leak(known, images, former)
    refuse_leak(known, images, [TRAIN] * 400)  # nothing is held out, so nothing flatters
    more = [*images, *(image(i, source="clinic", label=i % 2) for i in range(40))]
    with pytest.raises(TrainingError, match="images that the bundle learned from or was chosen on would be taken for"):
        refuse_leak(known, more, split(more, [str(i) for i in range(440)], seed=5))
    with pytest.raises(TrainingError, match=r"^1 images"):
        refuse_leak({("derm", "i0"): CALIBRATION}, images[:1], [VALIDATION])


def test_a_runs_folder_is_no_other_runs(tmp_path):
    claim(tmp_path / "run", {"seed": 1, "images": "a", "options": [{"width": 1.0}, 224]})
    claim(tmp_path / "run", {"seed": 1, "images": "a", "options": [{"width": 1.0}, 224]})
    with pytest.raises(TrainingError, match="run holds a run with other seed and images: give another OUT"):
        claim(tmp_path / "run", {"seed": 2, "images": "b", "options": [{"width": 1.0}, 224]})


def test_too_few_lesions_to_choose_by_are_told_before_training(tmp_path):
    folder = write_labelled_folder(tmp_path / "derm", ("nv", "mel"), 48, seed=1)  # 24 lesions, 3 or 4 to choose by
    with pytest.raises(TrainingError, match="lesions or patients came to the calibration split, and 5 are needed"):
        Material.read([folder], 32, 1, tmp_path / "cache")


def test_a_chain_of_shared_keys_is_one_group():
    groups = connected_groups([("a",), ("b",), ("a", "c"), ("c", "d"), ("d", "b"), ("e",)])
    assert len(set(groups[:5])) == 1
    assert groups[5] != groups[0]


def test_rare_classes_and_the_smaller_kind_are_drawn_more_often_than_they_occur():
    images = [image(i) for i in range(900)] + [image(i, label=1) for i in range(100)]
    images += [image(i, source="phone", label=i % 2) for i in range(60)]
    probabilities = draw_probabilities(images)
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[:900].sum() / probabilities[900:1000].sum() == pytest.approx(3)  # sqrt(900 / 100)
    assert source_shares(np.array([i.source for i in images]))["phone"] == pytest.approx(0.3)
    three = source_shares(np.repeat(["a", "b", "c"], [10_000, 900, 10]), 0.25)
    assert three == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})  # what lifts the smallest takes b under the least
    drawn = Counter(draw(images, 5000, seed=3).tolist())
    assert all(abs(drawn[i] - 5000 * p) <= 1 for i, p in enumerate(probabilities))


def test_reading_names_what_is_wrong(tmp_path):
    folder = write_labelled_folder(tmp_path / "derm", ("nv", "mel"), 8, seed=1)
    assert len(read_folders([folder])) == 8
    assert read_folders([folder])[0].attributes["sex"] in ("female", "male")
    with pytest.raises(TrainingError, match="share a name"):
        read_folders([folder, folder])
    (folder / "images" / "i3.jpg").unlink()
    with pytest.raises(TrainingError, match=r"line 5: .*i3\.jpg does not exist"):
        read_folders([folder])
    (folder / "metadata.csv").write_text("image_id,dx\ni0,freckle\n")
    with pytest.raises(TrainingError, match="line 2: dx 'freckle'"):
        read_folders([folder])
    (folder / "metadata.csv").write_text("name,class\ni0,nv\n")
    with pytest.raises(TrainingError, match="columns image_id and dx"):
        read_folders([folder])
    (folder / "metadata.csv").write_text("image_id,dx,site\ni0,nv,R\u00fccken\n", encoding="latin-1")
    with pytest.raises(TrainingError, match="is no CSV file in UTF-8"):
        read_folders([folder])
    with pytest.raises(TrainingError, match="may be called all"):
        read_folders([tmp_path / "all"])
    with pytest.raises(TrainingError, match="No such file"):
        read_folders([tmp_path / "nowhere"])


def test_training_decodes_what_the_worker_would_and_refuses_what_it_would_reject(tmp_path):
    folder = write_labelled_folder(tmp_path / "derm", ("nv",), 4, seed=1)
    images = read_folders([folder])
    squares = decoded_squares(images, 32, tmp_path / "cache")
    assert squares.shape == (4, 32, 32, 3)
    assert len({pixel_digest(square) for square in squares}) == 4
    images[2].path.write_bytes(b"not an image at all")
    with pytest.raises(TrainingError, match=r"i2\.jpg cannot be used"):
        decoded_squares(images, 32, tmp_path / "cache")
