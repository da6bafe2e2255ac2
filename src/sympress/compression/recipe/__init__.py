"""Recipes: the language, the steps, and the engine that runs them."""
