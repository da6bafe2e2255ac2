"""The study: notes in, the table of strategies out."""

from sympress.callable_package import make_callable

make_callable(__name__, "sympress.study.run", "run_study")
