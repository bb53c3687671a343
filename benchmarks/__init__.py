"""Measurements, by commands that anyone can run again."""
