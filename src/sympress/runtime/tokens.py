"""From a text of any length to word pieces, and from logits of pieces to mentions; numpy only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sympress.errors import InputError
from sympress.files import read_settings
from sympress.labels.mentions import Assertion, Mention
from sympress.labels.task import span_classes

# Word pieces of a text of any length, in memory that does not grow with what the tokenizer keeps of it.
#
# The tokenizers library holds some 150 bytes a piece; here a note keeps 24.


#: Characters that are given to the tokenizer at once. Notes are rarely longer.
SEGMENT_CHARACTERS = 65_536

#: A cut between segments: white space after a visible character. No tokenizer of a BERT family joins the
#: two into one piece.
_CUT = re.compile(r"(?<=\S)\s")
_LEAST_CHARACTERS = 512

#: How many times as long as a text a normalizer may make it; those of the BERT families make it three times.
GROWTH_MOST = 64

#: Special tokens and copies of a text that a template may make of it; usual are a copy and two tokens.
PARTS_MOST = 64


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a `tokenizer.json`, without truncation and padding.

    Raises:
        InputError: its normalizer can make a text more than `GROWTH_MOST` times as long, or its template has
            more than `PARTS_MOST` parts.
        Exception: it is damaged; the tokenizers library raises no other.
    """
    text = read_settings(path)
    raw = json.loads(text)
    if _growth(raw.get("normalizer")) > GROWTH_MOST:
        raise InputError(
            f"{path}: its normalizer makes a text more than {GROWTH_MOST} times as long; "
            "make the artifact again"
        )
    if _parts(raw.get("post_processor")) > PARTS_MOST:
        raise InputError(
            f"{path}: its template puts more than {PARTS_MOST} parts around a text; make the artifact again"
        )
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _growth(normalizer: Any) -> int:
    """At most how many times as long what the user's replacements of a normalizer make a text."""
    if not isinstance(normalizer, dict):
        return 1
    inside = normalizer.get("normalizers")
    if isinstance(inside, list):
        return math.prod(map(_growth, inside))
    added = normalizer.get("content", normalizer.get("prepend"))
    return max(1, len(added)) if isinstance(added, str) else 1


def _parts(processor: Any) -> int:
    """How many special tokens and copies of a text the templates of a post-processor make of one text."""
    if not isinstance(processor, dict):
        return 1
    inside, template = processor.get("processors"), processor.get("single")
    if isinstance(inside, list):
        return math.prod(map(_parts, inside))
    if not isinstance(template, list):
        return 1
    tokens = processor.get("special_tokens")
    sizes = {
        name: max(1, len(one["ids"]))
        for name, one in (tokens.items() if isinstance(tokens, dict) else ())
        if isinstance(one, dict) and isinstance(one.get("ids"), list)
    }
    named = [part.get("SpecialToken") for part in template if isinstance(part, dict)]
    return sum(sizes.get(str(one.get("id")), 1) if isinstance(one, dict) else 1 for one in named)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Word pieces of a text without special tokens.

    Attributes:
        ids: `(pieces,)` int64.
        starts, ends: `(pieces,)` int64 characters of the text; empty where they were not asked for.
        complete: False if the text goes on after the last piece.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    complete: bool


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids that stand before and after the pieces of a note, such as `[CLS]` and `[SEP]`."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SpecialTokens:
        """Those that `tokenizer` puts around a single text."""
        encoding = tokenizer.encode("a")
        plain = [at for at, special in enumerate(encoding.special_tokens_mask) if not special]
        first, last = (plain[0], plain[-1]) if plain else (len(encoding.ids), len(encoding.ids))
        return cls(tuple(encoding.ids[:first]), tuple(encoding.ids[last + 1 :]))

    @property
    def count(self) -> int:
        """How many there are around a window."""
        return len(self.before) + len(self.after)

    def surround(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """`ids` `(pieces,)` with the special tokens around them, as the model was trained to see it."""
        return np.concatenate([self.before, ids, self.after]).astype(np.int64)


def pieces_of(tokenizer: Tokenizer, text: str, *, offsets: bool, limit: int | None = None) -> Pieces:
    """Return the word pieces of `text`, which holds no lone surrogate.

    Args:
        tokenizer: without truncation and padding.
        text: of any length.
        offsets: whether to tell the characters of each piece; without them it is faster.
        limit: the most pieces to return; text far beyond them is not even looked at.
    """
    encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
    ids: list[NDArray[np.int64]] = []
    spans: list[NDArray[np.int64]] = []
    found, start = 0, 0
    size = SEGMENT_CHARACTERS if limit is None else min(SEGMENT_CHARACTERS, 8 * limit + _LEAST_CHARACTERS)
    while start < len(text) and (limit is None or found <= limit):
        end = _cut(text, start + size)
        encoding = encode([text[start:end]], add_special_tokens=False)[0]
        ids.append(np.array(encoding.ids, dtype=np.int64))
        if offsets:
            flat = np.fromiter(chain.from_iterable(encoding.offsets), dtype=np.int64)
            spans.append(flat.reshape(-1, 2) + start)
        found, start = found + len(ids[-1]), end
        size = min(SEGMENT_CHARACTERS, 2 * size)
    every = np.concatenate(ids) if ids else np.zeros(0, dtype=np.int64)
    pairs = np.concatenate(spans) if spans else np.zeros((0, 2), dtype=np.int64)
    return Pieces(every[:limit], pairs[:limit, 0], pairs[:limit, 1], limit is None or len(every) <= limit)


def _cut(text: str, wanted: int) -> int:
    """The end of a segment that should end at `wanted`: there, or at the next white space not far away."""
    if wanted >= len(text):
        return len(text)
    found = _CUT.search(text, wanted, min(len(text), wanted + SEGMENT_CHARACTERS))
    return found.start() if found else min(len(text), wanted + SEGMENT_CHARACTERS)


def window_spans(pieces: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Cut `pieces` word pieces into windows of at most `room` that start `stride` apart; at least one.

    Every piece is in a window; the last window ends with the last piece.
    """
    count = max(0, -(-(pieces - room) // stride)) + 1
    return [(at * stride, min(at * stride + room, pieces)) for at in range(count)]


# From logits of word pieces to mentions: windows merged without seams, tags to spans; numpy only.
#
# Training judges with these functions and the deployed runtime answers with them: both see the same
# mentions.


OUTSIDE = "O"
#: Sums of log probabilities that differ by less are taken for equal.
_ROUNDING = 1e-9
Floats = NDArray[np.float64]
#: Whether each of the first code points is a letter or a digit.
_ALPHANUMERIC = np.array([chr(code).isalnum() for code in range(0x250)])
#: Logits `(tokens, tags)`, or `(K,)`, of one window of word-piece ids `(tokens,)`, special tokens included.
Run = Callable[[NDArray[np.int64]], NDArray[np.float32]]
#: Id of the symptom that a surface form names, or None.
Link = Callable[[str], str | None]


def tags_of(classes: Sequence[str]) -> tuple[str, ...]:
    """The tags that mark spans of these classes: `O`, then `B-` and `I-` of each."""
    return (OUTSIDE, *(f"{side}-{one}" for one in classes for side in "BI"))


def classes_of(tags: Sequence[str]) -> tuple[str, ...]:
    """The classes of spans that `tags` mark, such as assertions, in their order.

    Raises:
        InputError: they are not `tags_of` some classes of a task.
    """
    found = tuple(tag[2:] for tag in tags if tag.startswith("B-"))
    if not found or tuple(tags) != tags_of(found) or not set(found) <= set(span_classes()):
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
    left, right = ends[touching - 1], starts[touching]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    met = left > 0
    met[met] = _alphanumeric(codes[left[met] - 1]) & _alphanumeric(codes[right[met]])
    begins[touching[met | (right < left)]] = False
    return begins


def _alphanumeric(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """For each code point of `codes` whether it is a letter or a digit."""
    found = _ALPHANUMERIC[np.minimum(codes, len(_ALPHANUMERIC) - 1)]
    for at in np.flatnonzero(codes >= len(_ALPHANUMERIC)).tolist():
        found[at] = chr(codes[at]).isalnum()
    return found


def merge_windows(
    rows: Sequence[NDArray[np.float32]], spans: Sequence[tuple[int, int]], pieces: int
) -> NDArray[np.float32]:
    """Logits `(pieces, tags)` of a whole note from those of its windows, `(end - start, tags)` each.

    A piece is answered by the window in which it is farthest from a cut; the ends of the note are no cuts.
    Of equals the earlier window answers.
    """
    if len(rows) == 1:
        return rows[0]
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


#: Pieces whose scores are computed at a time.
_TOGETHER = 8_192


@dataclass(frozen=True, slots=True)
class _Scores:
    """Log probabilities of each piece: outside, beginning and inside of any span `(pieces,)`.

    `assertion` `(assertions, pieces)` is that of each assertion, given that the piece is part of a span.
    """

    outside: Floats
    begin: Floats
    inside: Floats
    assertion: Floats


def _scores(logits: NDArray[np.float32]) -> _Scores:
    """Those of a note, some thousand pieces at a time: what is needed on the way stays in the cache."""
    parts = [_scores_of(logits[at : at + _TOGETHER]) for at in range(0, len(logits), _TOGETHER)]
    if len(parts) == 1:
        return parts[0]
    rows = ((one.outside, one.begin, one.inside, one.assertion) for one in parts)
    return _Scores(*(np.concatenate(row, axis=-1) for row in zip(*rows, strict=True)))


def _scores_of(logits: NDArray[np.float32]) -> _Scores:
    wide = np.ascontiguousarray(
        logits.T, dtype=np.float64
    )  # numpy adds whole rows up fast, short ones slowly
    wide = wide - _log_sum(wide)
    begin, inside = wide[1::2], wide[2::2]
    either = np.logaddexp(begin, inside)
    return _Scores(wide[0], _log_sum(begin), _log_sum(inside), either - _log_sum(either))


def _log_sum(values: Floats) -> Floats:
    """Of each column of `values` `(rows, pieces)`."""
    top = values.max(axis=0)
    return np.asarray(np.log(np.exp(values - top).sum(axis=0)) + top, dtype=np.float64)


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
    return decode_at_biases(logits, starts, ends, tags, text, biases=(span_bias,), link=link)[0]


def decode_at_biases(
    logits: NDArray[np.float32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    tags: Sequence[str],
    text: str,
    *,
    biases: Sequence[float],
    link: Link | None = None,
) -> list[tuple[Mention, ...]]:
    """What `decode_mentions` finds with each of `biases`; a span that several find is read once."""
    if len(logits) == 0:
        return [()] * len(biases)
    classes, scores, begins = classes_of(tags), _scores(logits), word_starts(text, starts, ends)

    @cache
    def read(first: int, last: int) -> Mention | None:
        start, end = _trimmed(text, int(starts[first]), int(ends[last]))
        if start >= end:
            return None
        own = slice(first, last + 1)
        told = int(np.argmax(scores.assertion[:, own].sum(axis=1)))
        on_path = scores.begin[first] + scores.inside[first + 1 : last + 1].sum()
        score = float(np.exp(on_path / (last + 1 - first)) * np.exp(scores.assertion[told, own]).mean())
        symptom = None if link is None else link(text[start:end])
        return Mention(start, end, symptom, cast("Assertion", classes[told]), min(score, 1.0))

    found = []
    for bias in biases:
        runs = _runs(_best_path(scores, begins, bias))
        found.append(tuple(one for run in runs if (one := read(*run)) is not None))
    return found


def _best_path(scores: _Scores, begins: NDArray[np.bool_], span_bias: float) -> list[int]:
    """0 outside, 1 beginning, 2 inside for each piece: the likeliest legal path.

    It is looked for between words that are outside on any such path. A word is where it loses more within a
    span, however it stands there, than it costs the word after it to begin a span instead of going on.
    """
    firsts = np.flatnonzero(begins)
    gap = scores.outside - np.maximum(scores.begin + max(span_bias, 0.0), scores.inside)
    lost = np.add.reduceat(gap, firsts)
    anew = scores.inside[firsts[1:]] - scores.begin[firsts[1:]] - span_bias
    open_words = np.flatnonzero(lost <= np.maximum(np.append(anew, 0.0), 0.0) + _ROUNDING)
    path = [0] * len(begins)
    edges = np.append(firsts, len(begins))
    for words in np.split(open_words, np.flatnonzero(np.diff(open_words) > 1) + 1):
        if len(words):
            part = slice(int(edges[words[0]]), int(edges[words[-1] + 1]))
            path[part] = _likeliest(scores, begins, span_bias, part)
    return path


def _likeliest(scores: _Scores, begins: NDArray[np.bool_], span_bias: float, part: slice) -> list[int]:
    """The same of some pieces with the outside on both sides (Viterbi 1967)."""
    outside, begin, inside = (row[part].tolist() for row in (scores.outside, scores.begin, scores.inside))
    worst = float("-inf")
    reached = (outside[0], begin[0] + span_bias, worst)
    came: list[tuple[int, int, int]] = [(0, 0, 0)]
    for at, starts_word in enumerate(begins[part].tolist()[1:], start=1):
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
