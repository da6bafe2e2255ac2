"""What was found in notes as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from sympress.deploy.findings import findings_of, reason_in_words
from sympress.deploy.note_result import NoteResult, rounded
from sympress.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_SCHEMA = {
    "note": pl.Int64,
    "symptom": pl.String,
    "code": pl.String,
    "assertion": pl.String,
    "probability": pl.Float64,
    "start": pl.Int64,
    "end": pl.Int64,
    "words": pl.String,
    "source": pl.String,
    "reason": pl.String,
    "failure": pl.String,
}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def frame_of(results: Iterable[NoteResult]) -> pl.DataFrame:
    """A row a finding, as `NoteResult.to_frame` says; `note` counts the notes from 0."""
    rows = [{"note": place, **row} for place, one in enumerate(results) for row in _rows(one)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def _rows(result: NoteResult) -> list[dict[str, Any]]:
    if result.failure is not None:
        return [{"failure": result.failure}]
    rows = []
    for one in findings_of(result):
        start, end = one.span or (None, None)
        rows.append(
            {
                "symptom": one.symptom,
                "code": one.code,
                "assertion": one.assertion,
                "probability": rounded(one.probability),
                "start": start,
                "end": end,
                "words": None
                if result.text is None or one.span is None
                else encodable(result.text[start:end]),
                "source": one.source,
                "reason": None if one.reason is None else encodable(reason_in_words(one.reason)),
            }
        )
    return rows


def as_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """`frame` for pandas, with pandas' own types.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise InputError("pandas is not installed: run  pip install pandas, or use to_frame()") from None
    return pd.DataFrame(frame.to_dict(as_series=False), columns=frame.columns)


def encodable(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 can hold, as U+FFFD; offsets stay what they were."""
    return _LONE_SURROGATE.sub("\ufffd", text)
