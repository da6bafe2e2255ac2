"""How a number becomes text, the same in every table."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sympress.results import Estimate

UNDEFINED = "undefined"
NOT_APPLICABLE = "–"
#: Follows an average over fewer symptoms than the study has: the others are undefined on the test set.
PARTLY = "†"


def defined(values: Iterable[float | None]) -> list[float]:
    """Return the finite numbers among `values`, an iterable of numbers and Nones."""
    return [value for value in values if value is not None and math.isfinite(value)]


def format_estimate(estimate: Estimate | None) -> str:
    """Return ``0.923 [0.901, 0.944]``, ``undefined`` where there is no value, a dash where none belongs.

    A value that comes with a note (an average over the defined symptoms only) is marked by `PARTLY`.
    """
    if estimate is None:
        return NOT_APPLICABLE
    if not defined([estimate.value]):
        return UNDEFINED
    mark = PARTLY if estimate.note else ""
    if len(defined([estimate.low, estimate.high])) < 2:
        return f"{estimate.value:.3f}{mark}"
    return f"{estimate.value:.3f}{mark} [{estimate.low:.3f}, {estimate.high:.3f}]"


def format_difference(estimate: Estimate) -> str:
    """Return ``−0.012 [−0.020, −0.004]`` with a true minus and an explicit plus, or ``undefined``."""
    if not defined([estimate.value]):
        return UNDEFINED
    if len(defined([estimate.low, estimate.high])) < 2:
        return signed(estimate.value)
    return f"{signed(estimate.value)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def format_number(value: float | None, digits: int) -> str:
    """Return `value` with thousands separated and at least two figures that count, or a dash for None.

    A value too small for `digits` keeps two significant figures, so that 0.003 ms is not printed as 0.
    """
    if value is None or not math.isfinite(value):
        return NOT_APPLICABLE
    if 0 < abs(value) < 10**-digits:
        return f"{value:.2g}"
    return f"{value:,.{digits}f}"


def format_ratio(ratio: float | None) -> str:
    """Return ``0.52×``, ``<0.01×`` for less, or a dash for None."""
    if ratio is None:
        return NOT_APPLICABLE
    return "<0.01×" if 0 < ratio < 0.01 else f"{ratio:,.2f}×"


def signed(value: float | None) -> str:
    """Return `value` to three decimals with its sign, a true minus, and no sign at 0."""
    rounded = round(value or 0.0, 3) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:+.3f}".replace("-", "−") if rounded else "0.000"
