"""What a study will read, take and store, estimated before anything is trained (`--dry-run`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from sympress.compression.recipe.language import choose_strategies
from sympress.config import StudyConfig
from sympress.errors import InputError, MissingExtraError
from sympress.labels.lexicon import Lexicon
from sympress.models.encoder import BUNDLED, PAPER_ENCODER, Encoder, load_encoder
from sympress.notes.split import Split
from sympress.progress import Reporter
from sympress.runtime.session import prepare_text
from sympress.studies.train import make_extractor, stride_of
from sympress.training.data import NOTES_AT_ONCE
from sympress.training.epochs import default_device, has_bf16, visible_gpus

#: Notes of a side whose word pieces are counted; of more, so many are drawn.
SAMPLE = 2_000
#: Bytes a parameter. While a row is trained: two checkpoints of weights and both moments of AdamW (a new one
#: is written before the old is removed), and the kept epoch. Of a row: `model.safetensors` and `model.onnx`.
_TRAINING_BYTES, _ROW_BYTES = 2 * 12 + 4, 2 * 4
#: What a training reaches of the speed of one large matrix product.
_EFFICIENCY = 0.5
_SIDE = 1024


class Unread(NamedTuple):
    """How much text of one side of the split a model does not see.

    Attributes:
        side: of the split.
        notes: of the side.
        drawn: notes whose word pieces were counted.
        cut: share of them that are longer than a window.
        unseen: share of their word pieces behind all that is read.
        pieces: word pieces a note that are read, special ones and overlaps included.
    """

    side: str
    notes: int
    drawn: int
    cut: float
    unseen: float
    pieces: float


class Most(NamedTuple):
    """What a model reads of a note at most.

    Attributes:
        tokens: word pieces a window, special ones included.
        stride: from a window to the next; None where only the first is read.
        windows: how many are read; None for all.
    """

    tokens: int
    stride: int | None = None
    windows: int | None = None


class Size(NamedTuple):
    """Parameters of an encoder, and those that are multiplied with each token: all but embeddings."""

    parameters: int
    multiplied: int


#: Of BERT-base, the shape of the encoder of the paper, where that is not on this machine.
_BERT_BASE = Size(108_310_272, 85_645_056)


@dataclass(frozen=True)
class Notes:
    """What a study learns from, as `Task.prepare` returns it.

    Attributes:
        texts: of all labelled notes.
        split: rows of each side.
        symptoms: the K names.
        lexicon: of the study.
    """

    texts: Sequence[str]
    split: Split
    symptoms: Sequence[str]
    lexicon: Lexicon


def preview(config: StudyConfig, notes: Notes, reporter: Reporter) -> list[str]:
    """Say what is not read, and what a run takes in time and space; `config` is resolved.

    Nothing is downloaded. All is an estimate: word pieces are counted on at most `SAMPLE` notes a side, by
    those of the packaged encoder where the study's own is not here; time is that of the matrix products.
    """
    encoder, remark = _encoder_here(config)
    if encoder is None:
        return [remark]
    unread = [] if config.task == "mentions" else _unread(config, notes, encoder, reporter)
    lines = [remark] if remark else []
    by = ", read by windows," if config.windows == "all" else ""
    lines += [
        f"{one.side}: {one.cut:.1%} of the notes are longer than {config.max_tokens} word pieces{by} and "
        f"{one.unseen:.1%} of all word pieces are never seen"
        + (f" ({one.drawn:,} of {one.notes:,} notes drawn)" if one.drawn < one.notes else "")
        for one in unread
    ]
    size = _size_of(encoder) if not remark else _BERT_BASE if config.encoder == PAPER_ENCODER else None
    if size is None:
        return [*lines, f"time and disk: not known before {config.encoder} is here"]
    pieces = unread[0].pieces if unread else float(config.max_tokens or 0)
    return [*lines, *_cost(config, len(notes.split.train), pieces, size)]


def count_unread(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], most: Most, *, side: str, notes: int
) -> Unread:
    """Count the word pieces of `texts`, drawn of so many `notes` of a `side`, and those that are not read."""
    special = tokenizer.num_special_tokens_to_add()
    lengths = []
    for start in range(0, len(texts), NOTES_AT_ONCE):
        part = list(texts[start : start + NOTES_AT_ONCE])
        ids = tokenizer(part, return_attention_mask=False, verbose=False)["input_ids"]
        lengths += [len(one) - special for one in ids]
    pieces, room = np.array(lengths, dtype=np.int64), most.tokens - special
    windows = np.ones_like(pieces)
    if most.stride is not None:
        windows += np.maximum(0, -(-(pieces - room) // most.stride))
    if most.windows is not None:
        windows = np.minimum(windows, most.windows)
    overlap = (windows - 1) * (room - (most.stride or room))
    seen = np.minimum(pieces, windows * room - overlap)
    return Unread(
        side,
        notes,
        len(texts),
        float((pieces > room).mean()) if len(texts) else 0.0,
        float((pieces - seen).sum() / max(pieces.sum(), 1)),
        float((seen + overlap + windows * special).mean()) if len(texts) else 0.0,
    )


def _encoder_here(config: StudyConfig) -> tuple[Encoder | None, str]:
    """The study's encoder, or the packaged one in its place with a remark, or None with a remark."""
    name = config.encoder or BUNDLED
    try:
        return load_encoder(name, case=config.case, download=False), ""
    except InputError:
        missing = f"{name} is not on this machine"
    try:
        return load_encoder(BUNDLED), f"{missing}: word pieces are counted as the packaged encoder cuts them"
    except (InputError, MissingExtraError):
        return None, f"{missing}: what it reads, takes and stores is not known yet"


def _unread(config: StudyConfig, notes: Notes, encoder: Encoder, reporter: Reporter) -> list[Unread]:
    extractor = make_extractor(config, encoder, notes.lexicon, notes.symptoms)
    every = Most(extractor.max_tokens, stride_of(extractor))
    found = []
    sides = (
        ("training", notes.split.train, every._replace(windows=config.max_windows)),
        ("validation", notes.split.validation, every),
        ("test", notes.split.test, every),
    )
    for done, (side, rows, most) in enumerate(sides, start=1):
        drawn = rows
        if len(rows) > SAMPLE:
            drawn = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
        texts = [prepare_text(notes.texts[int(row)], extractor) for row in drawn]
        found.append(count_unread(encoder.tokenizer, texts, most, side=side, notes=len(rows)))
        reporter.step("counting word pieces", done, len(sides))
    return found


def _size_of(encoder: Encoder) -> Size:
    model = encoder.model
    embedded = sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Embedding))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Size(parameters, parameters - embedded)


def _cost(config: StudyConfig, notes: int, pieces: float, size: Size) -> list[str]:
    strategies = len(choose_strategies(config)) + len(config.recipes)
    rows = strategies * config.seeds
    tokens = notes * pieces * config.epochs
    device = default_device()
    seconds = 6 * size.multiplied * tokens / (_EFFICIENCY * _multiplications_per_second(device))
    disk = size.parameters * (_TRAINING_BYTES + _ROW_BYTES * rows)
    gpus = visible_gpus()
    return [
        f"time, estimated: {_duration(seconds)} for one training of {config.epochs} epochs on this machine's "
        f"{device.type} ({tokens / 1e6:,.1f} million word pieces, {size.parameters / 1e6:,.1f} million "
        f"parameters); a study of {strategies} strategies and {config.seeds} seed"
        f"{'s' * (config.seeds > 1)} has at most {rows} such trainings",
        f"disk, estimated: at most {disk / 1e9:,.1f} GB",
        *([f"{gpus} GPUs are visible, one of them is used"] if gpus > 1 else []),
    ]


def _multiplications_per_second(device: torch.device) -> float:
    """Floating-point operations a second of a large matrix product, as training multiplies.

    Of a CPU that nobody else uses: the clock is that of this process.
    """
    clock, cores = time.perf_counter, 1
    if device.type == "cpu":
        clock, cores = time.process_time, torch.get_num_threads()
    dtype = torch.bfloat16 if has_bf16(device) else torch.float16 if device.type == "cuda" else torch.float32
    left = torch.ones(_SIDE, _SIDE, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(4):  # the first one warms up
        started = clock()
        float((left @ left)[0, 0])  # waits for the device
        best = min(best, (clock() - started) / cores)
    return 2 * _SIDE**3 / best


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} hours"
