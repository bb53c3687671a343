"""Synthetic skin images, drawn by a program from a seed: for showing and for loading, never for judging a model.

They look like dermoscopy and phone photographs at a glance. None depicts a disease, so a label that a model
gives one of them means nothing.

    noise -> skin -> looks (+ foreground) -> views -> assortment (+ bad_files)
"""

from demo.lesions.assortment import demo_images
from demo.lesions.bad_files import BAD_FILES
from demo.lesions.looks import LOOKS
from demo.lesions.views import dermoscopy, phone

__all__ = ["BAD_FILES", "LOOKS", "demo_images", "dermoscopy", "phone"]
