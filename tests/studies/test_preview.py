"""What a dry run says of text that is not read, and of time and disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from sympress.config import StudyConfig, make_config
from sympress.labels.lexicon import load_lexicon
from sympress.models import encoder as encoders
from sympress.notes.split import Split
from sympress.progress import Reporter
from sympress.results import SplitCounts
from sympress.studies import preview as module
from sympress.studies.preview import Most, Notes, count_unread, preview
from sympress.training.data import encode_texts, encode_windows


def notes(lengths: list[int]) -> Notes:
    """Notes of so many words on each side; a word is a piece."""
    rows = np.arange(len(lengths))
    counts = SplitCounts(
        train=len(rows), validation=len(rows), test=len(rows), rule="random", exact_duplicates=0,
        near_duplicates=0, patients_on_both_sides=0, duplicates_on_both_sides=0,
    )  # fmt: skip
    split = Split(rows, rows, rows, counts)
    return Notes(["fever " * count for count in lengths], split, ["fever", "cough"], load_lexicon("paper"))


def config(encoder: object, **settings: object) -> StudyConfig:
    return make_config(
        {"protocol": "clinical", "encoder": str(encoder), "max_tokens": 12} | settings
    ).resolved()


def test_notes_that_are_cut_and_pieces_behind_the_limit_are_counted(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    found = count_unread(tokenizer, ["fever " * 10, "fever " * 30], Most(12), side="test", notes=2)
    assert (found.cut, found.unseen, found.pieces) == (0.5, 20 / 40, 12)
    nothing = count_unread(tokenizer, ["fever"], Most(12), side="test", notes=1)
    assert (nothing.cut, nothing.unseen, nothing.pieces) == (0, 0, 3)


def test_each_side_says_what_is_not_read_and_a_sample_is_said(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = config(encoder_folder, windows="first")
    lines = preview(first, notes([10, 30]), Reporter(quiet=True))
    cut = "50.0% of the notes are longer than 12 word pieces and 50.0% of all word pieces are never seen"
    assert lines[:3] == [f"{side}: {cut}" for side in ("training", "validation", "test")]
    monkeypatch.setattr(module, "SAMPLE", 3)
    lines = preview(config(encoder_folder), notes([30] * 5), Reporter(quiet=True))
    assert lines[0].endswith("are never seen (3 of 5 notes drawn)")


def test_by_windows_only_training_leaves_something_unread(
    encoder_folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    lines = preview(config(encoder_folder, max_windows=2), notes([10, 30]), Reporter(quiet=True))
    by = "50.0% of the notes are longer than 12 word pieces, read by windows, and"
    shares = ("32.5%", "0.0%", "0.0%")  # two windows of 10 pieces, 7 apart, hold 17 of 30
    assert lines[:3] == [
        f"{side}: {by} {share} of all word pieces are never seen"
        for side, share in zip(("training", "validation", "test"), shares, strict=True)
    ]
    texts = ["fever " * 10, "fever " * 30]
    for most in (Most(12, 7), Most(12, 7, 2), Most(12), Most(12, 10)):
        found = count_unread(tokenizer, texts, most, side="test", notes=2)
        if most.stride is None:
            read = encode_texts(tokenizer, texts, 12)
        else:
            read = encode_windows(tokenizer, texts, 12, most.stride, most=most.windows)
        assert found.pieces == read.tokens.mean()


def test_disk_grows_with_seeds_and_both_are_called_estimates(encoder_folder: Path) -> None:
    def disk(seeds: int) -> float:
        lines = preview(config(encoder_folder, seeds=seeds), notes([10]), Reporter(quiet=True))
        assert sum(", estimated:" in line for line in lines) == 2
        return float(lines[-1].removeprefix("disk, estimated: at most ").removesuffix(" GB"))

    assert disk(100) >= disk(1)


def test_an_encoder_that_is_not_here_is_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    load = encoders._load

    def told(name: str, source: str, case: encoders.Case, *, local: bool) -> encoders.Encoder:
        asked.append((name, local))
        return load(name, source, case, local=local)

    monkeypatch.setattr(encoders, "_load", told)
    lines = preview(config("emilyalsentzer/Bio_ClinicalBERT"), notes([30]), Reporter(quiet=True))
    assert [local for _, local in asked] == [True, True]
    assert lines[0].startswith(
        "emilyalsentzer/Bio_ClinicalBERT is not on this machine: word pieces are counted"
    )
    assert "108.3 million parameters" in lines[-2]
    other = preview(config("some/encoder"), notes([30]), Reporter(quiet=True))
    assert other[-1] == "time and disk: not known before some/encoder is here"
