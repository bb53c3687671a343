"""Reads events: which uploads and removals they name, in which messages. Pure Python, no AWS."""
