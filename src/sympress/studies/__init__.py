"""A protocol, its strategies and seeds, from notes to one results file."""
