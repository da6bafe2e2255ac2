"""The artifact, its export and its runtime."""
