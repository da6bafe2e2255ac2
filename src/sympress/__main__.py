"""`python -m sympress` is the `sympress` command."""

from sympress.cli.main import run

run()
