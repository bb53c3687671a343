"""What fuzzing takes for a finding."""

from __future__ import annotations

import pytest
from sample_images import encoded, picture

from proof.fuzz import promises


def test_a_sound_image_keeps_every_promise():
    promises.check_promises(encoded(picture(1), "PNG"))


def test_an_input_that_takes_too_long_is_a_finding(monkeypatch):
    """With the limit at a thousandth: a sound image that takes longer than that is no different in kind."""
    monkeypatch.setattr(promises, "SECONDS", promises.SECONDS / 1000)
    with pytest.raises(promises.BrokenPromiseError, match=r"bytes took .* s\."):
        promises.check_promises(encoded(picture(1, (1000, 900)), "PNG"))
