"""What is known of published data sets, by the name of their folder: whom a card cites, and under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

NOT_COMMERCIAL = "CC BY-NC 4.0"


@dataclass(frozen=True)
class DataSet:
    """One published data set."""

    title: str
    source: str
    """Kind of image, authors, and where it is published: an item of a list."""
    licence: str
    limits: str
    """What it does not show, in whole sentences."""


DATA_SETS = {
    "ham10000": DataSet(
        "HAM10000",
        "dermoscopy. Tschandl, Rosendahl, Kittler, Scientific Data 5:180161 (2018), doi 10.1038/sdata.2018.161,\n"
        "  CC BY-NC 4.0.",
        NOT_COMMERCIAL,
        "from two sites (Vienna, Queensland); mostly light skin, and no skin type recorded. Half of the diagnoses\n"
        "  were confirmed by histopathology, the others by follow-up, confocal microscopy or consensus.",
    ),
    "pad_ufes": DataSet(
        "PAD-UFES-20",
        "photographs by phone. A part of PAD-UFES-20: Pacheco et al., Data in Brief 32:106221 (2020),\n"
        "  doi 10.17632/zr7vgbcyr2.1, CC BY 4.0.",
        "CC BY 4.0",
        "from one programme in Brazil, and few: the intervals are wide, scc and mel rest on a handful of images\n"
        "  each, and the two held-out splits differ widely. Where validation is kinder than calibration, expect\n"
        "  something in between of new photographs.",
    ),
}


def licence(folders: Collection[str]) -> str:
    """What a bundle that learned from these folders may be shared under."""
    if any(folder not in DATA_SETS for folder in folders):
        return "that of its training images, which is not known here"
    licences = {DATA_SETS[folder].licence for folder in folders}
    return NOT_COMMERCIAL if NOT_COMMERCIAL in licences else licences.pop()
