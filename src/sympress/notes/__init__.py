"""Read notes, find duplicates, split."""
