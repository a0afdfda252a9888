"""The pretrained encoders' forward pass for scoring: the same weights and numbers as transformers', faster."""
