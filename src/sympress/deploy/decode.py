"""From logits of word pieces to mentions: windows merged without seams, tags to spans; numpy only.

Training judges with these functions and the deployed runtime answers with them: both see the same mentions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sympress.deploy.pieces import Pieces, SpecialTokens, window_spans
from sympress.errors import InputError
from sympress.labels.mentions import ASSERTIONS, Assertion, Mention

OUTSIDE = "O"
Floats = NDArray[np.float64]
#: Logits `(tokens, tags)` of one window of word-piece ids `(tokens,)`, special tokens included.
Run = Callable[[NDArray[np.int64]], NDArray[np.float32]]
#: Id of the symptom that a surface form names, or None.
Link = Callable[[str], str | None]


def tags_of(assertions: Sequence[Assertion]) -> tuple[str, ...]:
    """The tags that mark spans with these assertions: `O`, then `B-` and `I-` of each."""
    return (OUTSIDE, *(f"{side}-{assertion}" for assertion in assertions for side in "BI"))


def assertions_of(tags: Sequence[str]) -> tuple[Assertion, ...]:
    """The assertions that `tags` mark, in their order.

    Raises:
        InputError: they are not `tags_of` some assertions.
    """
    found = tuple(cast("Assertion", tag[2:]) for tag in tags if tag.startswith("B-"))
    if not found or tuple(tags) != tags_of(found) or not set(found) <= set(ASSERTIONS):
        raise InputError(
            f"tags {list(tags)[:3]} …: they must be 'O', then 'B-' and 'I-' of each assertion; "
            "copy the artifact again"
        )
    return found


def word_starts(text: str, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each word piece `(pieces,)` whether a word begins with it.

    A piece goes on with a word where it follows the one before without a gap and the letters or digits on
    both sides meet. So `fever,chills` is three words whatever tokenizer cut it, and `##s` begins none.
    """
    begins = np.ones(len(starts), dtype=np.bool_)
    touching = np.flatnonzero(starts[1:] <= ends[:-1]) + 1
    for at in touching.tolist():
        left, right = int(ends[at - 1]), int(starts[at])
        if starts[at] < ends[at - 1] or (left and text[left - 1].isalnum() and text[right].isalnum()):
            begins[at] = False
    return begins


def merge_windows(
    rows: Sequence[NDArray[np.float32]], spans: Sequence[tuple[int, int]], pieces: int
) -> NDArray[np.float32]:
    """Logits `(pieces, tags)` of a whole note from those of its windows, `(end - start, tags)` each.

    A piece is answered by the window in which it is farthest from a cut; the ends of the note are no cuts.
    Of equals the earlier window answers.
    """
    merged = np.zeros((pieces, rows[0].shape[-1]), dtype=np.float32)
    best = np.full(pieces, -1, dtype=np.int64)
    for row, (start, end) in zip(rows, spans, strict=True):
        at = np.arange(end - start)
        before = at if start > 0 else np.full_like(at, pieces)
        after = at[::-1] if end < pieces else np.full_like(at, pieces)
        distance = np.minimum(before, after)
        nearer = distance > best[start:end]
        merged[start:end][nearer] = row[nearer]
        best[start:end][nearer] = distance[nearer]
    return merged


def note_logits(
    pieces: Pieces, specials: SpecialTokens, *, room: int, stride: int, run: Run
) -> NDArray[np.float32]:
    """Logits `(pieces, tags)` of a note of any length; windows run one at a time.

    Args:
        pieces: of the whole note.
        specials: what stands around each window.
        room: pieces a window holds beside them.
        stride: pieces from the start of a window to that of the next, at most `room`.
        run: the model.
    """
    spans = window_spans(len(pieces.ids), room, stride)
    first = len(specials.before)
    rows = [
        run(specials.surround(pieces.ids[start:end]))[first : first + end - start] for start, end in spans
    ]
    return merge_windows(rows, spans, len(pieces.ids))


@dataclass(frozen=True, slots=True)
class _Scores:
    """Log probabilities of each piece: outside, beginning and inside of any span `(pieces,)`.

    `assertion` `(pieces, assertions)` is that of each assertion, given that the piece is part of a span.
    """

    outside: Floats
    begin: Floats
    inside: Floats
    assertion: Floats


def _scores(logits: NDArray[np.float32]) -> _Scores:
    wide = logits.astype(np.float64)
    wide = wide - _log_sum(wide)[:, None]
    begin, inside = wide[:, 1::2], wide[:, 2::2]
    either = np.logaddexp(begin, inside)
    return _Scores(wide[:, 0], _log_sum(begin), _log_sum(inside), either - _log_sum(either)[:, None])


def _log_sum(values: Floats) -> Floats:
    top = values.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - top).sum(axis=-1)) + top[..., 0], dtype=np.float64)


def decode_mentions(
    logits: NDArray[np.float32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    tags: Sequence[str],
    text: str,
    *,
    span_bias: float = 0.0,
    link: Link | None = None,
) -> tuple[Mention, ...]:
    """The mentions of a note, by start; they are disjoint, cover whole words and have no space at their ends.

    First the spans: the likeliest path of outside, beginning and inside, the assertions added up, on which
    nothing inside follows the outside and no word is cut. Then the assertion of each span, by all its pieces.
    The score is the geometric mean of the pieces' probabilities on the path, times the mean probability of
    the assertion.

    Args:
        logits: `(pieces, tags)` of the whole note.
        starts: `(pieces,)`, first character of each piece in `text`.
        ends: `(pieces,)`, one past the last.
        tags: as `tags_of` orders them.
        text: the note.
        span_bias: added to the log probability of every span; above 0 finds more.
        link: names the symptom of a surface form; none is named without it.
    """
    if len(logits) == 0:
        return ()
    assertions, scores = assertions_of(tags), _scores(logits)
    path = _best_path(scores, word_starts(text, starts, ends), span_bias)
    found = []
    for first, last in _runs(path):
        start, end = _trimmed(text, int(starts[first]), int(ends[last]))
        if start >= end:
            continue
        own = slice(first, last + 1)
        told = int(np.argmax(scores.assertion[own].sum(axis=0)))
        on_path = scores.begin[first] + scores.inside[first + 1 : last + 1].sum()
        score = float(np.exp(on_path / (last + 1 - first)) * np.exp(scores.assertion[own, told]).mean())
        symptom = None if link is None else link(text[start:end])
        found.append(Mention(start, end, symptom, assertions[told], min(score, 1.0)))
    return tuple(found)


def _best_path(scores: _Scores, begins: NDArray[np.bool_], span_bias: float) -> list[int]:
    """0 outside, 1 beginning, 2 inside for each piece: the likeliest legal path (Viterbi 1967)."""
    outside, begin, inside = scores.outside.tolist(), scores.begin.tolist(), scores.inside.tolist()
    worst = float("-inf")
    reached = (outside[0], begin[0] + span_bias, worst)
    came: list[tuple[int, int, int]] = [(0, 0, 0)]
    for at, starts_word in enumerate(begins.tolist()[1:], start=1):
        o, b, i = reached
        in_span = 1 if b >= i else 2
        span = max(b, i)
        if starts_word:
            before = 0 if o >= span else in_span
            best = max(o, span)
            reached = (best + outside[at], best + begin[at] + span_bias, span + inside[at])
            came.append((before, before, in_span))
        else:
            reached = (o + outside[at], worst, span + inside[at])
            came.append((0, 0, in_span))
    state = max(range(3), key=lambda one: (reached[one], -one))
    path = [state]
    for at in range(len(came) - 1, 0, -1):
        state = came[at][state]
        path.append(state)
    return path[::-1]


def _runs(path: Sequence[int]) -> list[tuple[int, int]]:
    """First and last piece of each span."""
    runs: list[tuple[int, int]] = []
    for at, state in enumerate(path):
        if state == 1:
            runs.append((at, at))
        elif state == 2:
            runs[-1] = (runs[-1][0], at)
    return runs


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without white space at the ends."""
    marked = text[start:end]
    return start + len(marked) - len(marked.lstrip()), end - len(marked) + len(marked.rstrip())
