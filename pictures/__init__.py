"""A picture of a run: every image beside the model's label, its confidence and its heat map.

canvas (shapes, text) -> heat (the overlay) -> card (one record) -> sheet (header, grid, footer)
"""

from pictures.sheet import MOST_CARDS, contact_sheet

__all__ = ["MOST_CARDS", "contact_sheet"]
