"""Labelled images in, model bundle out. Shares decoding and decisions with the worker through `model_layer`."""
