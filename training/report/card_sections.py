"""The card's sections on confidence, groups of people, changed images and heat maps, as far as they were measured."""

from __future__ import annotations

from typing import Any

from training.data.data_sets import DATA_SETS
from training.data.dataset import ALL
from training.evaluation.confidence import CLASS_FLOOR, ENOUGH
from training.evaluation.subgroups import FEWEST
from training.report.tables import groups_of

ATTRIBUTES = {
    "sex": "sex",
    "age": "age",
    "site": "body site",
    "skin_type": "Fitzpatrick skin type",
    "recorded_tone": "recorded skin tone, 0 very dark to 5 very light",
    "skin_tone": "estimated skin tone",
}
_GROUP_FIGURES = ("accuracy", "balanced_accuracy", "triage_sensitivity", "triage_specificity")


def sections(metrics: dict[str, Any]) -> list[str]:
    """Every section that `metrics` has figures for, as Markdown."""
    made = (_trust(metrics), _factors(metrics), _subgroups(metrics), _robustness(metrics), _explanation(metrics))
    return [section for section in made if section]


def _trust(metrics: dict[str, Any]) -> str:
    own = {data: values for data, values in metrics.items() if "prediction_sets" in values}
    if not own:
        return ""
    rows = []
    for data, values in own.items():
        scaled, curve, sets = values["calibration"], values["risk_coverage"], values["prediction_sets"]["overall"]
        cells = (
            _estimate(scaled, "ece_before"),
            _estimate(scaled, "ece_after"),
            _estimate(scaled, "ece_by_chance"),
            _estimate(curve, "area"),
            _estimate(sets, "coverage"),
            _estimate(sets, "size"),
        )
        rows.append(f"| {data} | " + " | ".join(cells) + " |")
    short = [
        f"{data} {code} ({_estimate(group, 'coverage')}, {group['lesions']} lesions)"
        for data, values in own.items()
        if data != "all"
        for code, group in values["prediction_sets"]["per_class"].items()
        if group["misses_floor"]
    ]
    floor = f"For classes with at least {ENOUGH} lesions, {CLASS_FLOOR:.0%} of the sets should contain the truth: "
    return f"""## Confidence, abstention and prediction sets

Expected calibration error before and after temperature scaling, and the error that true confidences would show with so
few images (mean and middle 95 % of the simulations; an error within this range is no sign of miscalibration); the area
under the risk-coverage curve (mean error over all shares of answered images, most confident first; lower is better,
`risk_coverage.csv`); how often the prediction set contains the truth, and its mean number of labels.

| | error before | error after | true confidences | area | sets with the truth | labels per set |
|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

{floor}{"all classes do" if not short else "these fall short: " + "; ".join(short)}. Every class: `prediction_sets.csv`.
"""


def _factors(metrics: dict[str, Any]) -> str:
    if not any(own.get("subgroups") for own in metrics.values()):
        return ""
    agreement = [
        f"For the {own['images']} images of {data} with a recorded type, its rank correlation with that type is\n"
        f"{_estimate(own, 'spearman')}; -1 would be full agreement, 0 none."
        for data, values in metrics.items()
        if (own := values.get("skin_tone_agreement"))
    ]
    published = all(name in DATA_SETS for name in metrics if name != ALL)
    dark = "skin types V and VI" if published else "some skin types"
    approved = ", published by their clinics with the approval of ethics committees" if published else ""
    return f"""## Factors

Kind of image (dermoscopic or clinical), diagnosis, sex, age, body site and skin: Fitzpatrick's type if it was recorded,
otherwise a tone estimated from the skin around the lesion (individual typology angle, Chardon et al. 1991). The
estimate depends on the lamp and the camera too.
{chr(10).join(agreement)}

## Ethical considerations

The photographs are of patients{approved}; this bundle contains
none. Errors do not cost the same: a missed melanoma may cost a life, a needless referral causes worry and a biopsy. The
triage threshold was chosen to avoid the first, at the price of the second. There are next to no images of
{dark} for training and measurement. In the tables below they are missing: do not read that as equal performance.
"""


def _subgroups(metrics: dict[str, Any]) -> str:
    groups = list(groups_of(metrics))
    if not groups:
        return ""
    rows, few = [], []
    for data, attribute, group, own in groups:
        if own["accuracy"] is None:
            few.append(f"{data} {ATTRIBUTES[attribute]} {group} ({own['lesions']})")
        else:
            cells = " | ".join(_estimate(own, figure) for figure in _GROUP_FIGURES)
            rows.append(f"| {data} | {ATTRIBUTES[attribute]} | {group} | {own['lesions']} | {cells} |")
    too_small = (
        f"Groups with fewer than {FEWEST} lesions (their number in brackets), too few for any statement: "
        f"{', '.join(few)}.\n"
    )
    return f"""## Each group of people

A figure needs at least {FEWEST} lesions of its kind (malignant ones for sensitivity, benign ones for specificity); "-"
means too few. Groups differ in their diagnoses, and nevi are easier than the lesions of older people: a different
accuracy is not necessarily caused by the group. Numbers of images and other figures: `subgroups.csv`.

| data | | group | lesions | accuracy | balanced accuracy | malignant and urgent | benign and routine |
|---|---|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

{too_small if few else ""}"""


def _robustness(metrics: dict[str, Any]) -> str:
    tables = {data: own["robustness"] for data, own in metrics.items() if "robustness" in own}
    if not tables:
        return ""
    changes = next(iter(tables.values()))["changes"]
    rows = [
        f"| {change} | "
        + " | ".join(
            f"{_estimate(t['changes'][change], 'balanced_accuracy')} | {t['changes'][change]['difference']:+.3f}"
            for t in tables.values()
        )
        + " |"
        for change in changes
    ]
    head = " | ".join(f"{data}, {t['lesions']} lesions | change" for data, t in tables.items())
    return f"""## Changed images

Balanced accuracy on one image of each of the same lesions, drawn evenly from the classes, after a change. The interval
of the difference, which is narrower than those of the two figures, is in `robustness.csv`.

| | {head} |
|---|{"---:|---:|" * len(tables)}
{chr(10).join(rows)}
"""


def _explanation(metrics: dict[str, Any]) -> str:
    checked = {data: own["explanation"] for data, own in metrics.items() if "explanation" in own}
    if not checked:
        return ""
    rows = [
        f"| {data} | {own['images']} | {_estimate(own, 'hottest_matters_more')} | {_estimate(own, 'control')} | "
        f"{_estimate(own['shuffled']['last convolution'], 'rank_correlation', sign='+')} | "
        f"{_estimate(own['shuffled']['all'], 'rank_correlation', sign='+')} |"
        for data, own in checked.items()
        if "last convolution" in own["shuffled"]
    ]
    return f"""## Heat maps

The share of images in which the label's probability falls more when the hottest fifth is painted in the image's mean
colour than when the coldest fifth is; as a control, the same with the map of a network whose last convolution is
shuffled; and the rank correlation of the map with that of a network whose last convolution, or all of them, are
shuffled (Adebayo et al. 2018), which should be near 0.

| | images | hottest matters more | control | last shuffled | all shuffled |
|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

A heat map shows which parts of the image the label depends on. It does not show that the label is right.
"""


def _estimate(own: dict[str, Any], figure: str, sign: str = "-") -> str:
    """`0.712 (0.680-0.745)`; figures that may be negative are written as `+0.12 (-0.01 to +0.25)`."""
    value, ci = own[figure], own[f"{figure}_ci"]
    if value is None:
        return "-"
    if sign == "+" or value < 0 or (ci and ci[0] < 0):
        return f"{value:+.2f}" + (f" ({ci[0]:+.2f} to {ci[1]:+.2f})" if ci else "")
    return f"{value:.3f}" + (f" ({ci[0]:.3f}-{ci[1]:.3f})" if ci else "")


def tables_and_plots(metrics: dict[str, Any]) -> tuple[str, ...]:
    """The files that these sections quote, and that a bundle keeps.

    Files of checks that `metrics` does not have are left out: they may be of an earlier evaluation.
    """
    plots = [
        f"{kind}-{name}.png"
        for kind in ("prediction_sets", "subgroups", "robustness")
        for name, own in metrics.items()
        if kind in own
    ]
    measured = {kind for own in metrics.values() for kind in own}
    tables = ("risk_coverage", "calibration", "prediction_sets", "subgroups", "robustness", "explanation")
    drawn = ("risk_coverage", "explanation")
    return (
        *(f"{name}.csv" for name in tables if name in measured),
        *(f"{name}.png" for name in drawn if name in measured),
        *plots,
    )
