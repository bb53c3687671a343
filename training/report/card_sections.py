"""The card's sections on who and what the figures hold for; each stands where its figures were measured."""

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
    """Every section that `metrics` has the figures of, as Markdown."""
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
    floor = f"Of classes with at least {ENOUGH} lesions, sets should hold the truth in {CLASS_FLOOR:.0%}: "
    return f"""## Confidence, abstention and prediction sets

Expected calibration error before and after temperature scaling, and what true confidences would show on so few images
(the mean, and where 95 % of the draws lie: an error within tells of no fault); the area under the risk-coverage curve
(mean error over all shares of images that are answered, surest first; lower is better, `risk_coverage.csv`); how often
the prediction set holds the truth, and how many labels it has.

| | error before | error after | of true confidences | area | sets that hold | labels a set |
|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

{floor}{"all do" if not short else "these fall short: " + "; ".join(short)}. Every class: `prediction_sets.csv`.
"""


def _factors(metrics: dict[str, Any]) -> str:
    if not any(own.get("subgroups") for own in metrics.values()):
        return ""
    agreement = [
        f"In {data}, over {own['images']} photographs with a recorded type, its rank correlation with that type is\n"
        f"{_estimate(own, 'spearman')}, where -1 would be full agreement and 0 none."
        for data, values in metrics.items()
        if (own := values.get("skin_tone_agreement"))
    ]
    published = all(name in DATA_SETS for name in metrics if name != ALL)
    dark = "skin types V and VI" if published else "some skin types"
    approved = ", published by their clinics with the approval of ethics committees" if published else ""
    return f"""## Factors

Kind of image (dermoscopy or phone), diagnosis, sex, age, body site and skin: Fitzpatrick's type where it was recorded,
elsewhere a tone estimated from the skin around the lesion (individual typology angle, Chardon et al. 1991). That is an
estimate of a photograph's colours, which are the lamp's and the camera's too.
{chr(10).join(agreement)}

## Ethical considerations

The photographs are of patients{approved}; this bundle holds
none. Errors cost unevenly: a missed melanoma may cost a life, a needless referral a worry and a biopsy. The triage
threshold was set against the first, at the price of the second. Of {dark} there are next to no images to
train on or to measure with. The tables below can show that only as a gap: do not take it for equal performance.
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
        f"Nothing can be said of these groups, which have fewer than {FEWEST} lesions (their number in brackets): "
        f"{', '.join(few)}.\n"
    )
    return f"""## Each group of people

A figure is given from {FEWEST} lesions of its kind on (malignant ones for sensitivity, benign ones for specificity);
"-" means too few. Groups differ in their diagnoses, and nevi are easier than what older people have: an accuracy that
differs is not by itself the group's doing. Images and further figures: `subgroups.csv`.

| data | | group | lesions | accuracy | balanced accuracy | malignant that are urgent | benign that are routine |
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
    return f"""## Worse photographs

Balanced accuracy on one image each of the same lesions, evenly drawn from the classes, after a change. The change's own
interval, which is narrower than the two figures' own, is in `robustness.csv`.

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

The share of images in which the label loses more when the hottest fifth is painted in the image's mean colour than
when the coldest is; the same by the map of a network whose last convolution is shuffled, as a control; and the rank
correlation of the map with that of a network whose last, or whose every convolution is shuffled (Adebayo et al. 2018):
near 0 is as it should be.

| | images | hottest matters more | control | last shuffled | all shuffled |
|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

A heat map shows which parts of the image the label rests on. It does not show that the label is right.
"""


def _estimate(own: dict[str, Any], figure: str, sign: str = "-") -> str:
    """`0.712 (0.680-0.745)`; bounds that may be negative are parted by `to`."""
    value, ci = own[figure], own[f"{figure}_ci"]
    if value is None:
        return "-"
    if sign == "+" or value < 0 or (ci and ci[0] < 0):
        return f"{value:+.2f}" + (f" ({ci[0]:+.2f} to {ci[1]:+.2f})" if ci else "")
    return f"{value:.3f}" + (f" ({ci[0]:.3f}-{ci[1]:.3f})" if ci else "")


def tables_and_plots(metrics: dict[str, Any]) -> tuple[str, ...]:
    """The files that these sections quote, which a bundle keeps where an evaluation wrote them.

    Those of checks that `metrics` knows nothing of are left out: an earlier evaluation may have left them.
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
