"""Synthetic skin images, drawn by a program from a seed: for demonstrations and load, never for judging a model.

They resemble dermoscopy and phone photographs at a glance. None depicts a disease, so a label that a model gives one
of them means nothing.

    noise -> skin -> looks -> views -> assortment
"""

from demo.lesions.assortment import BAD_FILES, demo_images
from demo.lesions.looks import LOOKS
from demo.lesions.views import dermoscopy, phone

__all__ = ["BAD_FILES", "LOOKS", "demo_images", "dermoscopy", "phone"]
