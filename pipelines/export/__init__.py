"""A checkpoint -> a folder to share: ONNX graph, card, hub."""
