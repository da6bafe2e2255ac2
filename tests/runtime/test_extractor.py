"""The extractor: answers for any note, the same whatever stands beside it, and never a crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sympress.errors import InputError
from sympress.runtime.artifact import Calibration, check_files, write_checksums, write_extractor
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.extractor import Extractor
from sympress.runtime.tokens import pieces_of, window_spans

TEXTS = [
    "Patient reports FEVER and cough.",
    "",
    "   \n\t ",
    "fever after the dose " * 40,
    "NUL \x00 inside",
    "half a pair \ud83d here and fever",
    "39.5 °C, İstanbul",
]


@pytest.fixture
def copied(tiny_artifact: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    for name in ("extractor.json", "tokenizer.json", "model.onnx"):
        (folder / name).write_bytes((tiny_artifact / name).read_bytes())
    write_checksums(folder)
    return folder


def settings(folder: Path, **changes: object) -> None:
    fixed = {"task": "present", "symptoms": ["fever", "cough", "pain"], "max_tokens": 16, "pad_id": 0}
    write_extractor(folder, Settings.model_validate({**fixed, **changes}))
    write_checksums(folder)


def test_an_answer_is_the_same_whatever_stands_beside_it(tiny_artifact: Path):
    extractor = Extractor.load(tiny_artifact)
    together = extractor(TEXTS)
    assert tuple(extractor(text) for text in TEXTS) == together
    assert extractor(TEXTS[::-1]) == together[::-1]
    assert Extractor.load(tiny_artifact, threads=3)(TEXTS) == together


def test_a_complete_extractor_makes_nothing_more_for_its_first_note(
    tiny_tagger: Path, monkeypatch: pytest.MonkeyPatch
):
    def late(*_: object) -> None:
        raise AssertionError("made for a note, which waited for it")

    extractor, fresh = Extractor.load(tiny_tagger), Extractor.load(tiny_tagger)
    extractor.complete()
    for made in ("SpanLinker.of", "_Index.of"):
        monkeypatch.setattr(f"sympress.labels.linking.{made}", late)
    unheard = "patient denies a rash after the dose"
    assert fresh(unheard).failure is not None
    assert extractor(unheard).failure is None


def test_a_stream_of_notes_is_answered_in_order_and_no_further_ahead_than_a_group(tiny_artifact: Path):
    extractor, taken = Extractor.load(tiny_artifact), list[int]()

    def stream(count: int) -> Iterator[str]:
        for at in range(count):
            taken.append(at)
            yield TEXTS[at % len(TEXTS)]

    answers = extractor.answers(stream(100))
    first = next(answers)
    assert len(taken) <= 16
    every = [extractor.answer(text) for text in TEXTS]
    assert [first, *answers] == [every[at % len(TEXTS)] for at in range(100)]
    taken.clear()
    long = (text * 4_000 for text in stream(7))
    next(extractor.answers(long))
    assert len(taken) < 7  # a group of long notes is small


def test_a_failing_note_leaves_those_of_its_group_alone(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch):
    extractor = Extractor.load(tiny_artifact)
    right, read = extractor(TEXTS), extractor.note_logits

    def fails(text: str, *given: object, **named: object):
        if text == TEXTS[0]:
            raise MemoryError
        return read(text, *given, **named)

    monkeypatch.setattr(extractor, "note_logits", fails)
    answered = extractor(TEXTS)
    assert answered[0].failure == "not enough memory for this note"
    assert answered[1:] == right[1:]


def test_every_kind_of_note_has_a_defined_result(tiny_artifact: Path):
    results = Extractor.load(tiny_artifact)(TEXTS)
    assert all(result.failure is None and result.windows == 1 for result in results)
    assert [result.truncated for result in results] == [False, False, False, True, False, False, False]
    assert len({result.symptoms for result in results}) > 2  # notes are told apart


def test_a_note_above_the_limit_says_so_and_the_others_are_answered(tiny_artifact: Path):
    huge, fine = Extractor.load(tiny_artifact)(["fever " * 9_000_000, "fever"])
    assert huge.failure == "longer than 16,777,216 characters"
    assert huge.symptoms == ()
    assert fine.failure is None


def test_what_the_model_throws_is_a_failure_without_the_note(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
):
    extractor = Extractor.load(tiny_artifact)

    def explode(text: str, *_: object) -> None:
        raise ValueError(f"cannot read {text}")

    monkeypatch.setattr(extractor.model, "windows_of", explode)
    assert extractor("Mr. Canary").failure == "the model failed (ValueError)"


def test_a_note_that_is_no_text_is_refused(tiny_artifact: Path):
    with pytest.raises(InputError, match=r"^note 1 is int, not text; give str$"):
        Extractor.load(tiny_artifact)(["fever", 7])  # type: ignore[list-item]


def test_topic_names_the_likeliest_symptom_only(copied: Path):
    settings(copied, task="topic")
    extractor = Extractor.load(copied)
    result = extractor("fever and cough")
    expected = extractor.runtime.predict(["fever and cough"])[0]
    assert [found.symptom for found in result.symptoms] == [extractor.symptoms[int(np.argmax(expected))]]
    assert result.symptoms[0].probability == pytest.approx(expected.max())


def test_thresholds_choose_and_calibration_moves_the_probability(copied: Path):
    settings(copied, thresholds=[0.0, 0.0, 1.0], calibration=Calibration(a=[2.0] * 3, b=[0.5] * 3))
    extractor = Extractor.load(copied)
    logits = extractor.runtime.predict_logits(["fever"])[0]
    found = {one.symptom: one.probability for one in extractor("fever").symptoms}
    assert found == pytest.approx(
        {name: 1 / (1 + np.exp(-2 * logits[k] - 0.5)) for k, name in enumerate(("fever", "cough"))}
    )


def test_all_windows_give_the_largest_logit(tiny_artifact: Path):
    extractor = Extractor.load(tiny_artifact)
    extractor.runtime.reads_all = True
    text = "fever and cough with pain after the dose no rash " * 5
    logits, windows, truncated = extractor.note_logits(text)
    runtime = extractor.runtime
    ids = runtime.pieces(text, offsets=False).ids
    spans = window_spans(len(ids), 14, 7)
    assert windows == len(spans) > 3
    assert not truncated
    each = [runtime.logits_of(np.array([2, *ids[start:end], 3])) for start, end in spans]
    assert np.array_equal(logits, np.max(each, axis=0))


@pytest.mark.parametrize(
    ("pieces", "spans"),
    [
        (0, [(0, 0)]),
        (10, [(0, 10)]),
        (11, [(0, 10), (5, 11)]),
        (20, [(0, 10), (5, 15), (10, 20)]),
        (21, [(0, 10), (5, 15), (10, 20), (15, 21)]),
    ],
)
def test_windows_overlap_and_end_with_the_note(pieces: int, spans: list[tuple[int, int]]):
    assert window_spans(pieces, 10, 5) == spans


def test_pieces_of_long_text_are_those_of_the_whole_with_its_offsets(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
):
    tokenizer = Extractor.load(tiny_artifact).runtime.tokenizer
    text = "Patient  denies\n\nrash, and chills.\tfever " * 30
    whole = tokenizer.encode(text, add_special_tokens=False)
    monkeypatch.setattr("sympress.runtime.tokens.SEGMENT_CHARACTERS", 37)
    cut = pieces_of(tokenizer, text, offsets=True)
    assert cut.ids.tolist() == whole.ids
    assert list(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True)) == whole.offsets
    some = pieces_of(tokenizer, text, offsets=False, limit=20)
    assert (some.ids.tolist(), some.complete) == (whole.ids[:20], False)


def test_checksums_notice_one_changed_byte(copied: Path):
    (copied / "README.md").write_text("a card", encoding="utf-8")
    write_checksums(copied)
    (copied / "README.md").write_text("a better card", encoding="utf-8")
    Extractor.load(copied)
    model = copied / "model.onnx"
    raw = bytearray(model.read_bytes())
    raw[len(raw) // 2] ^= 1
    model.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        Extractor.load(copied)
    assert str(caught.value) == f"{model}: changed since it was written (its checksum differs); copy it again"
    model.unlink()
    with pytest.raises(InputError) as caught:
        Extractor.load(copied)
    assert str(caught.value) == f"{copied}: model.onnx is missing; copy the artifact again"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 2}', "format 2 is newer than this sympress; upgrade sympress"),
        ("{", "damaged (JSONDecodeError); copy the artifact again"),
        ('{"format": 1, "sha256": {"../x": "0"}}', "damaged at sha256; copy the artifact again"),
    ],
)
def test_a_damaged_list_of_checksums_is_one_line(copied: Path, content: str, message: str):
    path = copied / "checksums.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        check_files(copied)
    assert str(caught.value) == f"{path}: {message}"


def test_neither_torch_nor_transformers_nor_polars_is_imported(tiny_artifact: Path):
    program = """
import sys
from sympress.runtime.extractor import Extractor
assert Extractor.load(sys.argv[1])(["fever", "no pain"])[0].failure is None
print([name for name in ("torch", "transformers", "polars", "onnx") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_artifact)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")
