"""The network: its layers, pruning, and the ONNX file that is served, with the outputs that are appended to it."""
