"""Budgets: what a compressed model may cost, as text; the Pareto set; the space that is searched."""
