"""Published data sets by the name of their folder: citation and licence, for the model card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

NOT_COMMERCIAL = "CC BY-NC 4.0"
DERMOSCOPIC, CLINICAL = "dermoscopic", "clinical"
"""Through a dermatoscope; with a camera or phone held close."""


@dataclass(frozen=True)
class DataSet:
    """One published data set."""

    title: str
    kind: str
    source: str
    """A list item: how its images were taken, authors, and where it is published."""
    licence: str
    limits: str
    """Its limits, in whole sentences."""


DATA_SETS = {
    "ham10000": DataSet(
        "HAM10000",
        DERMOSCOPIC,
        "dermoscopy. Tschandl, Rosendahl, Kittler, Scientific Data 5:180161 (2018), doi 10.1038/sdata.2018.161,\n"
        "  CC BY-NC 4.0.",
        NOT_COMMERCIAL,
        "from two sites (Vienna, Queensland); mostly light skin, and no skin type recorded. Half of the diagnoses\n"
        "  were confirmed by histopathology, the others by follow-up, confocal microscopy or consensus.",
    ),
    "pad_ufes": DataSet(
        "PAD-UFES-20",
        CLINICAL,
        "photographs by phone. A part of PAD-UFES-20: Pacheco et al., Data in Brief 32:106221 (2020),\n"
        "  doi 10.17632/zr7vgbcyr2.1, CC BY 4.0.",
        "CC BY 4.0",
        "from one programme in Brazil, and few: the intervals are wide, scc and mel rest on a handful of images\n"
        "  each, and the two held-out splits differ widely. Where validation is kinder than calibration, expect\n"
        "  something in between of new photographs.",
    ),
    "milk_dermoscopy": DataSet(
        "MILK10k, dermoscopy",
        DERMOSCOPIC,
        "dermoscopy. A part of MILK10k: MILK study team, ISIC archive (2025), CC BY-NC 4.0.",
        NOT_COMMERCIAL,
        "from several clinics; 96 % confirmed by histopathology, so that lesions that nobody would cut out hardly\n"
        "  occur. Mostly skin tones 3 and 4 of 5, 5 being very light. Basal cell carcinomas were capped.",
    ),
    "milk_clinical": DataSet(
        "MILK10k, clinical close-ups",
        CLINICAL,
        "clinical close-ups of the same lesions. A part of MILK10k: MILK study team, ISIC archive (2025),\n"
        "  CC BY-NC 4.0.",
        NOT_COMMERCIAL,
        "the lesions of its dermoscopy, taken by cameras in clinics.",
    ),
    "isic_archive": DataSet(
        "ISIC challenges of 2017 and 2018 outside HAM10000",
        DERMOSCOPIC,
        "dermoscopy. ISIC archive: Codella et al., arXiv:1710.05006 and 1902.03368, CC0 and CC BY-NC.",
        NOT_COMMERCIAL,
        "only nevi, melanomas and benign keratoses; many without a lesion's id.",
    ),
}


def licence(folders: Collection[str]) -> str:
    """The licence of a bundle that was trained on these folders."""
    if any(folder not in DATA_SETS for folder in folders):
        return "that of its training images, which is not known here"
    licences = {DATA_SETS[folder].licence for folder in folders}
    return NOT_COMMERCIAL if NOT_COMMERCIAL in licences else licences.pop()
