"""The strategies that make a model smaller or faster."""
