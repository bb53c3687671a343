"""Fuzzing of the decoder: promises (what it guarantees for any bytes), and `python -m proof.fuzz`."""
