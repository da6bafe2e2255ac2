"""Rows as bytes: JSON lines and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

#: A spreadsheet takes a cell that starts so as a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """One JSON object a line, UTF-8; half a surrogate pair becomes `?`, but see `encodable_id`."""
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    return text.encode("utf-8", "replace")


def csv_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """One RFC 4180 record a row, without header; cells that a spreadsheet would run start with `'`."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return buffer.getvalue().encode("utf-8", "replace")


def csv_header(columns: Sequence[str]) -> bytes:
    """The first line of a CSV file."""
    return (",".join(columns) + "\n").encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA) else value
