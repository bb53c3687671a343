"""Labelled folders are read whole or refused in a sentence, and never leak from one split to another."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_folders import write_labelled_folder
from PIL import Image

from training.data.dataset import LabelledImage, read_folders
from training.data.duplicates import near_duplicates
from training.data.material import Material, decoded_squares, pixel_digest
from training.data.sampling import draw, draw_probabilities, source_shares
from training.data.splits import (
    CALIBRATION,
    TRAIN,
    VALIDATION,
    connected_groups,
    grouped,
    read_splits,
    split,
    write_splits,
)
from training.errors import TrainingError
from training.fit.run_folder import claim


def image(number: int, *, source="derm", label=0, lesion="", patient="") -> LabelledImage:
    groups = tuple(f"{kind}/{name}" for kind, name in (("lesion", lesion), ("patient", patient)) if name)
    return LabelledImage(
        source, source, f"i{number}", Path(f"i{number}.jpg"), label, groups[0] if groups else str(number), groups
    )


def ungrouped(images):
    """Groups of images that are no near-duplicates."""
    return grouped(images, [str(i) for i in range(len(images))], [])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_lesion_patient_or_identical_image_is_on_two_sides(seed):
    rng = np.random.default_rng(seed)
    lesions = rng.integers(240, size=400)
    # A patient has up to three lesions, and here and there two patients' images are one and the same.
    images = [image(i, label=int(rng.integers(3)), lesion=f"L{n}", patient=f"P{n // 3}") for i, n in enumerate(lesions)]
    digests = [f"d{rng.integers(4000)}" for _ in images]
    pairs = [(3, 300), (300, 17)]
    splits = split(images, grouped(images, digests, pairs), seed)
    assert splits[3] == splits[300] == splits[17]
    sides: dict[str, set[str]] = {}
    for one, digest, side in zip(images, digests, splits, strict=True):
        for key in (*one.groups, digest):
            sides.setdefault(key, set()).add(side)
    assert all(len(where) == 1 for where in sides.values())


def test_splits_keep_every_class_of_every_kind_in_proportion():
    rng = np.random.default_rng(0)
    images = [image(i, label=int(rng.choice(4, p=[0.7, 0.2, 0.07, 0.03])), lesion=f"L{i // 2}") for i in range(2000)]
    images += [image(i, source="phone", label=int(rng.integers(2)), lesion=f"P{i}") for i in range(300)]
    splits = split(images, ungrouped(images), seed=1)
    for source, label in {(i.source, i.label) for i in images}:
        own = Counter(s for i, s in zip(images, splits, strict=True) if (i.source, i.label) == (source, label))
        total = sum(own.values())
        assert own[VALIDATION] / total == pytest.approx(0.10, abs=0.05)
        assert own[CALIBRATION] / total == pytest.approx(0.10, abs=0.05)
        assert own[TRAIN] / total == pytest.approx(0.80, abs=0.08)


def test_splits_are_the_same_for_the_same_seed_and_survive_the_file(tmp_path):
    images = [image(i, label=i % 3) for i in range(200)]
    groups = ungrouped(images)
    first = split(images, groups, seed=5)
    assert first == split(images, groups, seed=5)
    assert first != split(images, groups, seed=6)
    write_splits(tmp_path / "splits.csv", images, first)
    assert read_splits(tmp_path / "splits.csv") == {("derm", f"i{i}"): s for i, s in enumerate(first)}


def test_one_lesion_in_two_collections_is_on_one_side(tmp_path):
    """Its photographs through a dermatoscope and by a camera, in folders of their own."""
    folders = [write_labelled_folder(tmp_path / name, ("nv", "mel"), 80, seed=1) for name in ("derm", "clinical")]
    images = read_folders(folders)
    splits = split(images, ungrouped(images), seed=2)
    sides: dict[str, set[str]] = {}
    for one, side in zip(images, splits, strict=True):
        sides.setdefault(one.lesion, set()).add(side)
    assert len(sides) == 40
    assert all(len(where) == 1 for where in sides.values())


def test_a_copy_is_found_however_it_was_turned_cropped_and_compressed(tmp_path):
    squares = np.stack([lesion(seed) for seed in range(12)])
    picture = Image.fromarray(squares[4])
    turned = picture.transpose(Image.Transpose.ROTATE_90).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    cropped = picture.crop((2, 2, 110, 110)).resize(picture.size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    Image.fromarray(np.clip(squares[7] * 0.8, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=50)
    copies = [np.asarray(turned), np.asarray(cropped), np.asarray(Image.open(stream))]
    pairs = near_duplicates(np.concatenate([squares, np.stack(copies)]), tmp_path / "pairs.npy")
    assert {(4, 12), (4, 13), (7, 14)} <= set(map(tuple, pairs.tolist()))
    assert all(i in (4, 7) or (i, j) == (12, 13) for i, j in pairs)  # no two different lesions
    assert np.array_equal(pairs, near_duplicates(squares, tmp_path / "pairs.npy"))  # kept


def lesion(seed: int) -> np.ndarray:
    """(112, 112, 3): a dark, uneven spot off the middle."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:112, :112]
    square = np.full((112, 112, 3), (210, 160, 140), float)
    for _ in range(6):
        y, x, r = rng.uniform(25, 87), rng.uniform(25, 87), rng.uniform(8, 22)
        square -= np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / r**2)[..., None] * rng.uniform(10, 60, 3)
    return np.clip(square, 0, 255).astype(np.uint8)


def test_a_runs_folder_is_no_other_runs(tmp_path):
    claim(tmp_path / "run", {"seed": 1, "images": "a", "options": [{"width": 1.0}, 224]})
    claim(tmp_path / "run", {"seed": 1, "images": "a", "options": [{"width": 1.0}, 224]})
    with pytest.raises(TrainingError, match="run holds a run with other seed and images: give another OUT"):
        claim(tmp_path / "run", {"seed": 2, "images": "b", "options": [{"width": 1.0}, 224]})


def test_too_few_lesions_to_choose_by_are_told_before_training(tmp_path):
    folder = write_labelled_folder(tmp_path / "derm", ("nv", "mel"), 48, seed=1)  # 24 lesions, 3 or 4 to choose by
    with pytest.raises(
        TrainingError, match=r"The calibration split has only . lesions or patients, and cross-validation needs 5"
    ):
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
    with pytest.raises(TrainingError, match="is not a CSV file in UTF-8"):
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


def test_a_folder_that_is_left_out_takes_other_images_of_its_lesions_along(tmp_path):
    """Or a network that has never seen that clinic would have seen its patients."""
    folders = [write_labelled_folder(tmp_path / name, ("nv", "mel"), 200, seed=1) for name in ("derm", "clinic")]
    folders.append(write_labelled_folder(tmp_path / "elsewhere", ("nv", "mel"), 200, seed=5000))
    material = Material.read(folders, 32, 0, tmp_path / "cache", without=["clinic"])
    sources = material.sources(np.arange(len(material.images)))
    assert {*material.splits[sources != "elsewhere"]} == {VALIDATION}
    assert {*material.splits[sources == "elsewhere"]} == {TRAIN, CALIBRATION, VALIDATION}
