"""Drop the rows of the position table that no input is long enough to read."""

from __future__ import annotations

from sympress.compress.arch import keep_positions_, position_rows
from sympress.errors import InputError
from sympress.training.model import SymptomModel


def cut_positions_(model: SymptomModel, max_tokens: int) -> tuple[int, int]:
    """Keep the positions of inputs of up to `max_tokens` word pieces; returns rows before and after.

    Such inputs get the same logits as before, to the last bit; longer ones can no longer be read, also not
    after training: a pressed model reads longer notes by windows of `max_tokens`. RoBERTa's first tokens
    stand at the row after that of its padding token, so that it keeps as many rows more. Rotary positions
    (ModernBERT) and relative ones (DeBERTa v3) have no such table: (0, 0). A table that is no longer than
    needed stays as it is.

    Args:
        model: changed in place, its config included; safe to call again.
        max_tokens: longest input, special tokens included; at least 1.

    Raises:
        InputError: `max_tokens` is below 1, or the architecture is not supported.
    """
    if max_tokens < 1:
        raise InputError(f"inputs of {max_tokens} word pieces: the longest must be 1 or more")
    rows, first = position_rows(model.encoder)
    kept = min(rows, first + max_tokens)
    if kept < rows:
        keep_positions_(model.encoder, kept)
    return rows, kept
