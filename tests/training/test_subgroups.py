"""Groups are who they say, get figures only where there is enough to say, and the sentence where there is not."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_answers import answers, image, made_up

from training.evaluation.subgroups import FEWEST, NOT_RECORDED, age_band, agreement, sex, skin_type, subgroups


@pytest.mark.parametrize(
    ("recorded", "band"),
    [
        ("0.0", "under 30"),
        ("29", "under 30"),
        ("30", "30 to 49"),
        ("69.5", "50 to 69"),
        ("70", "70 and over"),
        ("", NOT_RECORDED),
        ("unknown", NOT_RECORDED),
    ],
)
def test_age_bands(recorded, band):
    assert age_band(image(age=recorded)) == band
    assert age_band(image()) == NOT_RECORDED


@pytest.mark.parametrize(
    ("recorded", "kind"), [("2.0", "II"), ("6", "VI"), ("IV", "IV"), ("", NOT_RECORDED), ("7", NOT_RECORDED)]
)
def test_skin_types(recorded, kind):
    assert skin_type(image(fitzpatrick=recorded)) == kind
    assert skin_type(image()) == NOT_RECORDED


def test_sex_is_taken_as_recorded():
    assert [sex(image(sex=s)) for s in ("female", "Male", "unknown", "")] == [
        "female",
        "male",
        NOT_RECORDED,
        NOT_RECORDED,
    ]


def people(n: int, of_type: dict[int, str] | None = None, **constant: str):
    """`n` images of as many lesions, of every class in turn."""
    types = of_type or {}
    return [image(i % 8, f"L{i}", fitzpatrick=types.get(i, ""), **constant) for i in range(n)]


def their_answers(images, right: float = 0.8, seed: int = 0):
    truth = np.array([i.label for i in images])
    _, probabilities, _ = made_up(len(images), seed)
    hit = np.random.default_rng(seed).random(len(images)) < right
    best = np.where(hit, truth, (truth + 1) % 8)
    probabilities = probabilities * 0.1
    probabilities[np.arange(len(images)), best] += 0.9
    return answers(probabilities, truth, [i.lesion for i in images])


def test_a_group_that_the_model_fails_is_seen_to_be_failed():
    images = people(200, localization="back") + [image(i % 8, f"F{i}", localization="foot") for i in range(100)]
    good, bad = their_answers(images[:200], 0.9), their_answers(images[200:], 0.3)
    both = good.__class__(*(np.concatenate([getattr(a, f) for a in (good, bad)]) for f in good.__dataclass_fields__))
    sites = subgroups(images, both, [None] * 300)["site"]
    assert sites["foot"]["accuracy_ci"][1] < sites["back"]["accuracy_ci"][0]
    assert sites["back"]["accuracy"] == pytest.approx(0.9, abs=0.06)
    for own in sites.values():
        assert own["note"] == ""
        low, high = own["balanced_accuracy_ci"]
        assert low <= own["balanced_accuracy"] <= high


def test_a_small_group_has_counts_and_a_sentence_but_no_figures():
    images = [*people(FEWEST, sex="male"), *[image(0, f"F{i}", sex="female") for i in range(FEWEST - 1)]]
    groups = subgroups(images, their_answers(images), [None] * len(images))["sex"]
    assert groups["male"]["accuracy"] is not None
    assert groups["female"]["lesions"] == FEWEST - 1
    assert groups["female"]["accuracy"] is groups["female"]["accuracy_ci"] is None
    assert groups["female"]["note"] == "Too small to say anything: 29 lesions, under 30."


def test_many_images_of_few_lesions_are_still_few():
    images = [image(0, f"L{i // 10}", sex="male") for i in range(200)]
    assert subgroups(images, their_answers(images), [None] * 200)["sex"]["male"]["accuracy"] is None


def test_sensitivity_needs_malignant_lesions_of_its_own():
    images = [image(0, f"L{i}", sex="male") for i in range(60)] + [image(1, f"M{i}", sex="male") for i in range(5)]
    own = subgroups(images, their_answers(images), [None] * 65)["sex"]["male"]
    assert own["accuracy"] is not None
    assert own["triage_specificity"] is not None
    assert own["triage_sensitivity"] is None
    assert own["note"] == "Nothing can be said of its sensitivity: it has 5 malignant lesions, under 30."


def test_tone_is_estimated_only_where_no_type_was_recorded():
    images = people(80, of_type=dict.fromkeys(range(40), "3.0"))
    groups = subgroups(images, their_answers(images), [60.0] * 40 + [20.0] * 39 + [None])
    assert groups["skin_type"]["III"]["images"] == 40
    assert {name: own["images"] for name, own in groups["skin_tone"].items()} == {"tan": 39}


def test_what_nobody_recorded_is_no_attribute_and_groups_come_in_their_order():
    images = [image(0, f"L{i}", age=str(20 + i)) for i in range(60)] + [image(0, "X")]
    groups = subgroups(images, their_answers(images), [None] * 61)
    assert set(groups) == {"age"}
    assert list(groups["age"]) == ["under 30", "30 to 49", "50 to 69", "70 and over", NOT_RECORDED]


def test_agreement_of_tone_and_type():
    images = people(120, of_type={i: str(1 + i % 6) for i in range(120)})
    darker = [50.0 - 15 * (i % 6) for i in range(120)]
    assert agreement(images, darker)["spearman"] == pytest.approx(-1)
    unrelated = agreement(images, np.random.default_rng(0).normal(0, 1, 120).tolist())
    assert unrelated["spearman_ci"][0] < 0 < unrelated["spearman_ci"][1]
    assert agreement(images[:10], darker[:10]) is None
    assert agreement(people(60, of_type=dict.fromkeys(range(60), "2")), darker[:60]) is None
