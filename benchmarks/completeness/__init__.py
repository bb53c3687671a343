"""Damaged images answered as whole ones, and whole ones called damaged: both rates, by format."""
