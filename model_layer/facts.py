"""What a record tells about an image's file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a record tells about the file; nothing else of its metadata leaves the decoder."""

    format: str
    """`jpeg`, `png`, `webp`, `bmp`, `tiff`, `gif`, `heic` or `dicom`, judged by content."""
    width: int
    """Pixels of the upright image, before any reduction."""
    height: int
