"""Masked weights, and removed heads and neurons."""
