"""The strategies that make a model smaller or faster."""

from sympress.callable_package import make_callable

make_callable(__name__, "sympress.api", "compress")
