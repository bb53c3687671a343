"""Labelled images: reading folders, splitting them, drawing from them, and changing them."""
