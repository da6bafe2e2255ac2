"""Encoders with heads: the families that are known, their files, and the models that need no training."""
