"""The tiny bundle of `proof.tiny_bundle`, under the name that tests know it by."""

from __future__ import annotations

from proof.tiny_bundle import LABELS, MALIGNANT, SIZE, tiny_manifest, tiny_network, write_tiny_bundle

__all__ = ["LABELS", "MALIGNANT", "SIZE", "tiny_manifest", "tiny_network", "write_tiny_bundle"]
