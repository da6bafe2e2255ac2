"""Recipes: steps of compression in order, as text."""
