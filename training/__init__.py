"""Labelled images in, model bundle out.

The commands are `train`, `evaluate`, `quality` and `unlike`. They use, each only those before it: `data`, `network`,
`evaluation`, `fit` and `report`. Decoding and decisions come from `model_layer`, which also serves.
"""
