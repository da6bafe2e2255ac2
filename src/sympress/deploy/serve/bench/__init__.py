"""Measure a real `sympress serve`: `python -m sympress.deploy.serve.bench`, and `….bench.attack`."""

from sympress.deploy.serve.bench.load import main

__all__ = ["main"]
