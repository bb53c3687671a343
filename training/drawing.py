"""One look for all plots, drawn without a screen."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt  # the backend is chosen first: no screen is needed

__all__ = ["ACCENT", "COLOURS", "INK", "MUTED", "plt"]

INK, ACCENT, MUTED = "#1d2733", "#0b6e8a", "#b9c4cf"
COLOURS = ("#c2603c", "#7a8a2f", "#6a4c93", "#3c6ec2")
"""For what is told apart by colour: data folders, phases."""
plt.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.dpi": 120,
        "savefig.bbox": "tight",
    }
)
