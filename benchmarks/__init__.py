"""Measurements that the documents show; none of it is part of the package."""
