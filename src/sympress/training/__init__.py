"""Encoders, heads, data and the training loop."""
