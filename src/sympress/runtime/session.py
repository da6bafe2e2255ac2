"""Sessions of ONNX Runtime that multiply right on every CPU, and notes run through them."""

from __future__ import annotations

import filecmp
import mmap
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sympress.errors import InputError, is_panic
from sympress.labels.annotate import Annotator
from sympress.labels.mentions import Mention
from sympress.labels.task import task_of
from sympress.notes.intake import mask_placeholders
from sympress.notes.markup import View, read_view
from sympress.runtime.artifact import (
    TAGGER_FOLDER,
    Extractor,
    check_files,
    model_bytes,
    model_file,
    model_source,
    read_extractor,
    read_provenance,
)
from sympress.runtime.linker import carried_words, rules_of
from sympress.runtime.tokens import (
    Link,
    Pieces,
    Run,
    SpecialTokens,
    decode_mentions,
    load_tokenizer,
    note_logits,
    pieces_of,
    window_spans,
)

# Int8 files on every CPU: which kernel is made for which, and sessions that multiply right on all.


onnxruntime.set_default_logger_severity(4)  # its log goes to the terminal, past Python's logging

#: The kernel of an int8 file where nothing else is asked for, as the provenance of an artifact names it.
INT8_KERNEL = "dynamic-7bit"

_SEVEN_BITS = "signed weights of 7 bits, exact on every CPU"
_FULL_RANGE = (
    "signed weights of all 8 bits, made for CPUs that add their products in 32 bits (x86 with VNNI, ARM); on "
    "others the runtime multiplies unsigned weights instead, exact and slower"
)
#: What a kernel stores and the CPUs that it is made for.
_MADE_FOR = {
    "dynamic-7bit": _SEVEN_BITS,
    "dynamic-8bit": _FULL_RANGE,
    "dynamic-unsigned": "unsigned weights of 8 bits, exact on every CPU, slower on x86 without VNNI",
    "static-7bit": _SEVEN_BITS,
    "static-8bit": _FULL_RANGE,
    "weights-8bit": "weights of 8 bits by blocks, for every CPU",
    "weights-4bit": "weights of 4 bits by blocks, for every CPU",
}
#: Operators that an integer product is written with.
_INTEGER_PRODUCTS = (b"MatMulInteger", b"DequantizeLinear")

#: ONNX Runtime's fused sum and layer norm takes 106 µs on 64 x 384 numbers where the two apart take 20:
#: without it MiniLM's int8 file is 1.3 times as fast.
SLOWER_FUSED = ("SkipLayerNormFusion",)

#: An ONNX file that multiplies `x` (rows, 4) of 0..255 by 4 x 4 weights of 127 with `MatMulInteger`.
_PRODUCT = bytes.fromhex(
    "08093a7c0a1d0a01780a06776569676874120179220d4d61744d756c496e7465676572120770726f647563742a200804"
    "0804100342067765696768744a107f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f5a170a017812120a100802120c0a06120472"
    "6f77730a02080462170a017912120a100806120c0a061204726f77730a02080442040a001014"
)
_LARGEST = 4 * 255 * 127  # that this file gives, where a sum of two products in 16 bits ends at 32,767
_ROWS = (1, 16)  # as of one token and of a note, which have kernels of their own


def open_session(file: Path | bytes, *, threads: int, disabled: Sequence[str] = SLOWER_FUSED) -> Any:
    """An ONNX file, or its bytes, ready to answer on `threads` cores (0: all) one note at a time.

    Products of unsigned by signed 8-bit numbers are exact on every CPU: x86 without VNNI adds pairs of them
    in 16 bits (`pmaddubsw`), where 2 · 255 · 127 does not fit. There the runtime makes signed weights that
    may overflow, those beyond 64, unsigned when it loads them; others it leaves as they are.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what fails is raised as well
    options.enable_mem_pattern = False  # a pattern is kept for every length of a note that is met
    options.add_session_config_entry("session.load_model_format", "ONNX")  # bytes may look like its own too
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        file, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
    )


@cache
def products_are_exact() -> bool:
    """True if sessions of `open_session` multiply 8-bit weights without saturating, asked of the runtime.

    The largest product there is is computed once a process; False if it cannot be.
    """
    try:
        session = open_session(_PRODUCT, threads=1)
        answers = [session.run(None, {"x": np.full((rows, 4), 255, dtype=np.uint8)})[0] for rows in _ROWS]
    except Exception:  # the runtime's errors have no common base of their own
        return False
    return all(bool((answer == _LARGEST).all()) for answer in answers)


def check_kernel(folder: Path) -> None:
    """Check that this CPU multiplies right what the artifact in `folder` was pressed for.

    Raises:
        InputError: products overflow here, in spite of `open_session`, and the file is not known to hold
            weights that are exact everywhere.
    """
    if products_are_exact():
        return
    kernel = kernel_of(folder)
    if made_for(kernel) in (None, _FULL_RANGE) and multiplies_integers(folder):
        raise InputError(
            f"{folder}: {f'kernel {kernel}' if kernel else 'its kernel is not recorded'}, and products of "
            f"8-bit weights overflow on this CPU with onnxruntime {onnxruntime.__version__}, so that answers "
            f"would be wrong; press the model again with --kernel {INT8_KERNEL}, which is exact on every CPU"
        )


def kernel_of(folder: Path) -> str | None:
    """The kernel that the provenance of the artifact in `folder` names; None where it names none."""
    try:
        record = read_provenance(folder, missing="no provenance")
    except InputError:
        return None
    kernel = record.get("kernel") if isinstance(record, dict) else None
    name = kernel.get("name") if isinstance(kernel, dict) else None
    return name if isinstance(name, str) else None


def made_for(kernel: str | None) -> str | None:
    """What `kernel` stores and the CPUs it is made for, also with layers in float; None if it is unknown."""
    return _MADE_FOR.get("-".join((kernel or "").split("-")[:2]))


def multiplies_integers(folder: Path) -> bool:
    """Whether the model of the artifact in `folder` has products of integers."""
    content = model_bytes(folder)  # an operator's name stands in it as it is
    return any(name in content for name in _INTEGER_PRODUCTS)


# What a deployed graph may hold, looked at in its file before ONNX Runtime reads it.
#
# ONNX Runtime runs whatever a graph says: loops without end, functions, files that lie beside it. What
# encoders and our steps are written with needs none of that.


#: Operators of encoders, heads and steps; whatever they are given, each ends by itself.
_OPERATORS = frozenset(
    b"Abs Add And ArgMax ArgMin AveragePool BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr "
    b"BitwiseXor Cast CastLike Ceil Clip Compress Concat Constant ConstantOfShape Conv Cos CumSum "
    b"DequantizeLinear Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor "
    b"Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual "
    b"HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less "
    b"LessOrEqual Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg NonZero Not "
    b"OneHot Or Pad Pow PRelu QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum "
    b"ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape "
    b"Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign "
    b"Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor".split()
)
#: Of ONNX Runtime's own, the product that weights of 4 bits are read by.
_OWN_OPERATORS = frozenset({b"MatMulNBits"})
_DOMAINS = {b"": _OPERATORS, b"ai.onnx": _OPERATORS, b"com.microsoft": _OWN_OPERATORS}
#: The fields of each message of onnx.proto that a deployed file may have, and the message that one holds.
#: Left out are functions and training (of a model), sparse tensors (of a graph), graphs (of an attribute) and
#: data in other files (of a tensor).
_FIELDS: dict[str, dict[int, str]] = {
    "a model": dict.fromkeys((1, 2, 3, 4, 5, 6, 8, 14), "") | {7: "a graph"},
    "a graph": dict.fromkeys((2, 10, 11, 12, 13, 14, 16), "") | {1: "a node", 5: "a tensor"},
    "a node": dict.fromkeys((1, 2, 3, 4, 6, 7, 9), "") | {5: "an attribute"},
    "an attribute": dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), "") | {5: "a tensor"},
    "a tensor": dict.fromkeys((1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 14), ""),
}
_TYPE, _DOMAIN = 4, 7  # fields of a node
#: Largest models have 60,000; what has more is made to be read without end.
_MOST_FIELDS = 1_000_000


def check_graph(file: Path | bytes) -> None:
    """Check that an ONNX file, or its bytes, holds operators of encoders and nothing that runs without end.

    One pass over the fields of its messages; no weights are copied.

    Raises:
        ValueError: it holds something else (the message says what).
        EOFError: it is no ONNX file.
        OSError: it cannot be read.
    """
    if isinstance(file, Path) and file.stat().st_size:
        with file.open("rb") as opened:
            content = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    else:
        content = memoryview(file if isinstance(file, bytes) else b"")
    _check_message(content, "a model", count())


def _check_message(message: memoryview, kind: str, met: count[int]) -> None:
    known = _FIELDS[kind]
    said = {_TYPE: b"", _DOMAIN: b""}
    for number, content in _fields_of(message):
        if number not in known:
            raise ValueError(f"{kind} with field {number}")
        if next(met) >= _MOST_FIELDS:
            raise ValueError("more parts than a model has")
        if known[number]:
            _check_message(content, known[number], met)
        elif kind == "a node" and number in said:
            said[number] = bytes(content[:100])
    if kind == "a node" and said[_TYPE] not in _DOMAINS.get(said[_DOMAIN], ()):
        name = said[_TYPE].decode("ascii", "replace")
        raise ValueError(f"the operator {name if name.isidentifier() else 'without a name'}")


def _fields_of(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each field of a message of protobuf, as they stand there.

    Raises:
        ValueError: it is none.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _number_at(message, at, bytes_most=5)
        wire = tag & 7
        if wire == 2:
            size, start = _number_at(message, at, bytes_most=5)
            at = start + size
        elif wire in (1, 5):
            start, at = at, at + (8 if wire == 1 else 4)
        elif wire == 0:
            start = at
            _, at = _number_at(message, at, bytes_most=10)
        else:
            raise EOFError("no ONNX file")
        if at > end or tag >> 32:
            raise EOFError("no ONNX file")
        yield tag >> 3, message[start:at]


def _number_at(message: memoryview, at: int, *, bytes_most: int) -> tuple[int, int]:
    """The number of variable length at `at`, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + bytes_most]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise EOFError("no ONNX file")


# Run an artifact on notes with ONNX Runtime and the tokenizers library; no torch, no transformers.


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model of whole notes reads of one.

    Attributes:
        windows: word-piece ids `(tokens,)` of each, special tokens included, `max_tokens` at most.
        complete: False if the note goes on behind them.
    """

    windows: list[NDArray[np.int64]]
    complete: bool


#: A logit whose probability is 0 to 40 digits.
_DENIED = -100.0


class Runtime:
    """An artifact in memory. One note at a time needs no padding, so its answer never depends on others."""

    def __init__(
        self, extractor: Extractor, tokenizer: Tokenizer, session: Any, rules: Annotator | None = None
    ) -> None:
        self.extractor, self.tokenizer, self.session = extractor, tokenizer, session
        #: What finds the mentions that a fusion weighs; None where there is no fusion.
        self.rules = rules
        self.specials = SpecialTokens.of(tokenizer)
        #: Pieces of a note that a window has room for.
        self.room = max(1, extractor.max_tokens - self.specials.count)
        #: Whether all of a note is read, window by window, or its first window only.
        self.reads_all = extractor.windows == "all" or task_of(extractor.task).finds_spans
        #: Pieces from the start of a window to that of the next.
        self.stride = min(self.room, extractor.stride or max(1, self.room // 2))

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 1) -> Runtime:
        """Load the artifact in `folder` to run on `threads` cores.

        Raises:
            InputError: the folder is no artifact, a file of it is missing, unlisted, changed or damaged, or
                this CPU would multiply its weights wrong.
        """
        folder = Path(folder)
        extractor = read_extractor(folder)
        check_files(folder)
        return cls.of_checked(folder, extractor, threads=threads)

    @classmethod
    def of_checked(
        cls, folder: Path, extractor: Extractor, *, threads: int = 1, tokenizer: Tokenizer | None = None
    ) -> Runtime:
        """Load an artifact whose files `check_files` has let pass.

        Args:
            folder: of the artifact.
            extractor: its settings.
            threads: cores it runs on.
            tokenizer: its own, where that is open already; None reads it.

        Raises:
            InputError: a file of it is damaged or of another artifact, or this CPU would multiply its weights
                wrong.
        """
        try:
            tokenizer = tokenizer or load_tokenizer(folder / "tokenizer.json")
            source = model_source(folder)
            _check_deployed(folder, source)
            session = open_session(source, threads=threads)
            fused = extractor.fusion is not None
            rules = rules_of(carried_words(folder, extractor)) if fused else None
            loaded = cls(extractor, tokenizer, session, rules)
        except InputError:
            raise
        except BaseException as error:  # tokenizers raises Exception and panics, onnxruntime its own types
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            raise InputError(
                f"{folder}: a damaged artifact ({type(error).__name__}); copy it again"
            ) from error
        check_kernel(folder)
        _check_ends(folder / model_file(folder).name, session, extractor)
        return loaded

    def prepare(self, text: str) -> str:
        """The text as the model was trained to see it."""
        return prepare_text(text, self.extractor)

    def reads_like(self, other: Runtime) -> bool:
        """Whether both see the same word pieces of a note, all of it."""
        mine, its = self.extractor, other.extractor
        return (
            self.tokenizer is other.tokenizer
            and (self.reads_all, mine.text_window) == (other.reads_all, its.text_window) == (True, None)
            and (mine.lower, mine.mask_placeholders) == (its.lower, its.mask_placeholders)
        )

    def windows_of(self, text: str, pieces: Pieces | None = None) -> Reading:
        """What of `text` is read: all windows, or the first, as `extractor.json` says.

        `pieces` are those of `text`, where another that `reads_like` this one has cut it already.
        """
        if pieces is None:
            pieces = self.pieces(text, offsets=False, limit=None if self.reads_all else self.room)
        spans = window_spans(len(pieces.ids), self.room, self.stride)
        windows = [self.specials.surround(pieces.ids[start:end]) for start, end in spans]
        return Reading(windows, pieces.complete and not self.cuts(text))

    def pieces(self, text: str, *, offsets: bool, limit: int | None = None) -> Pieces:
        """Word pieces of `text` as the model sees it; offsets count characters of `text` itself."""
        return pieces_of(self.tokenizer, self.prepare(text), offsets=offsets, limit=limit)

    def cuts(self, text: str) -> bool:
        """Whether the artifact reads no more than the first characters of `text`."""
        window = self.extractor.text_window
        return window is not None and len(text) > window

    def logits_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits `(K,)`, or `(tokens, tags)` of the task `mentions`, of word-piece ids `(tokens,)`.

        No ids are not run: they deny every symptom.
        """
        if not len(ids):  # an empty note, of a tokenizer without special tokens
            tags = self.extractor.tags
            shape = (len(self.extractor.symptoms),) if tags is None else (0, len(tags))
            return np.full(shape, _DENIED, dtype=np.float32)
        row = ids[None]
        result: NDArray[np.float32] = self.session.run(
            None, {"input_ids": row, "attention_mask": np.ones_like(row)}
        )[0][0]
        asked, each = len(self.extractor.tags or self.extractor.symptoms), ids.shape
        expected = (asked,) if self.extractor.tags is None else (*each, asked)
        if result.shape != expected:
            raise InputError(
                f"the model gives logits of shape {result.shape}, not {expected}; make the artifact again"
            )
        return checked_logits(result)

    def batch_logits(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Logits `(batch, K)` of notes padded to the longest of them."""
        longest = max(len(note) for note in ids)
        padded = np.full((len(ids), longest), self.extractor.pad_id, dtype=np.int64)
        mask = np.zeros_like(padded)
        for row, note in enumerate(ids):
            padded[row, : len(note)] = note
            mask[row, : len(note)] = 1
        result: NDArray[np.float32] = self.session.run(None, {"input_ids": padded, "attention_mask": mask})[0]
        return checked_logits(result)

    def predict_logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits `(notes, K)`, the largest of each symptom over the windows of the note, fused if so said."""
        if not len(texts):
            return np.zeros((0, len(self.extractor.symptoms)), dtype=np.float32)
        logits = np.stack([self.network_logits(text) for text in texts])
        if self.extractor.fusion is None:
            return logits
        # One after the other, model and rules would push each other out of the processor's cache.
        return np.stack(
            [self.fuse(own, self.mentions_in(text)) for own, text in zip(logits, texts, strict=True)]
        )

    def network_logits(self, text: str) -> NDArray[np.float32]:
        """Logits `(K,)` of a note before anything is fused with them."""
        return pooled_logits(self.windows_of(text).windows, self.logits_of)

    def fuse(self, logits: NDArray[np.float32], mentions: Iterable[Mention]) -> NDArray[np.float32]:
        """`logits` `(K,)` of a note, moved by the `mentions` in it where the artifact says so."""
        fusion = self.extractor.fusion
        if fusion is None:
            return logits
        with np.errstate(over="ignore", invalid="ignore"):
            return checked_logits(fusion.apply(logits, fusion.signs(mentions)), "fusion", "numbers")

    def mentions_in(self, note: str | View) -> Sequence[Mention]:
        """The mentions that a fusion weighs, by rules; none where there is no fusion."""
        if self.rules is None or self.extractor.fusion is None:
            return ()
        view = read_view(note) if isinstance(note, str) else note
        return self.rules.mentions_of(view, only=self.extractor.fusion.weighed)

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities `(notes, K)`."""
        return self.probabilities(self.predict_logits(texts))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities of logits `(..., K)`, calibrated where the artifact says how: softmax or sigmoids.

        Raises:
            InputError: the calibration makes one of them NaN.
        """
        task, calibration = self.extractor.task, self.extractor.calibration
        if calibration is None:
            return task_of(task).probabilities(logits)
        with np.errstate(over="ignore", invalid="ignore"):
            return checked_logits(calibration.apply(logits, task=task), "calibration", "numbers")


def pooled_logits(windows: Sequence[NDArray[np.int64]], run: Run) -> NDArray[np.float32]:
    """Logits `(K,)` of a note from its windows, which `run` answers one at a time.

    A symptom's logit is its largest over the windows: a note affirms what one of its parts affirms. Training
    pools in the same way (`training.data.pool_windows`).
    """
    pooled: NDArray[np.float32] = np.max(np.stack([run(window) for window in windows]), axis=0)
    return pooled


def open_tagger(folder: Path, beside: Runtime) -> Runtime:
    """The tagger that the artifact in `folder` carries, whose files `check_files` has let pass.

    Args:
        folder: of the artifact.
        beside: its model of whole notes, whose tokenizer serves both where it is the same one.

    Raises:
        InputError: it finds no spans, or as `Runtime.of_checked`.
    """
    place = folder / TAGGER_FOLDER
    settings = read_extractor(place)
    if settings.tags is None:
        raise InputError(f"{place}: of the task {settings.task}, which finds no spans; give a tagger")
    same = filecmp.cmp(folder / "tokenizer.json", place / "tokenizer.json", shallow=False)
    return Runtime.of_checked(place, settings, tokenizer=beside.tokenizer if same else None)


@dataclass(frozen=True)
class Tagged:
    """What a tagger found in the word pieces of a note, in how many windows, and whether text is unread."""

    spans: tuple[Mention, ...] = ()
    windows: int = 0
    cut: bool = False
    pieces: Pieces | None = None


def find_spans(runtime: Runtime | None, text: str, link: Link | None) -> Tagged:
    """The spans of a tagger in `text`, named by `link`; nothing without one."""
    if runtime is None:
        return Tagged()
    pieces = runtime.pieces(text, offsets=True)
    logits = note_logits(
        pieces, runtime.specials, room=runtime.room, stride=runtime.stride, run=runtime.logits_of
    )
    settings = runtime.extractor
    spans = decode_mentions(
        logits,
        pieces.starts,
        pieces.ends,
        settings.tags or (),
        text,
        span_bias=settings.span_bias,
        link=link,
    )
    windows = len(window_spans(len(pieces.ids), runtime.room, runtime.stride))
    return Tagged(spans, windows, runtime.cuts(text), pieces)


def _check_deployed(folder: Path, source: Path | bytes) -> None:
    """Check the graph of the artifact in `folder`, read from `source`.

    Raises:
        InputError: it holds what no deployed model does.
    """
    try:
        check_graph(source)
    except ValueError as error:
        raise InputError(
            f"{model_file(folder)}: holds {error}, which deployed models do not; make the artifact again"
        ) from error


#: What takes and what gives the model's numbers, as ONNX Runtime names their types.
_INPUTS = {"input_ids": "tensor(int64)", "attention_mask": "tensor(int64)"}
_LOGITS = "tensor(float)"


def _check_ends(file: Path, session: Any, extractor: Extractor) -> None:
    """Check that a graph takes word pieces and gives the logits that `extractor` has names for.

    Raises:
        InputError: it takes or gives something else, or another number of logits.
    """
    takes = {one.name: one.type for one in session.get_inputs()}
    gives = session.get_outputs()
    if takes != _INPUTS or not gives or gives[0].type != _LOGITS:
        raise InputError(
            f"{file}: no graph from input_ids and attention_mask to logits, as deployed models are; "
            "make the artifact again"
        )
    shape, asked = gives[0].shape, len(extractor.tags or extractor.symptoms)
    answers, axes = (shape[-1] if shape else None), 2 if extractor.tags is None else 3
    if len(shape) != axes:
        raise InputError(f"{file}: gives logits of {len(shape)} axes, not {axes}; make the artifact again")
    if isinstance(answers, int) and answers != asked:
        raise InputError(
            f"{file.parent}: {file.name} gives {answers} numbers where extractor.json names {asked}; "
            "copy the artifact again"
        )


Numbers = TypeVar("Numbers", NDArray[np.float32], NDArray[np.float64])


def checked_logits(numbers: Numbers, what: str = "model", of: str = "weights") -> Numbers:
    """`numbers`, of any shape, which are some: NaN is below every threshold and would say "no symptoms".

    Args:
        numbers: logits, or what was made of them.
        what: part of the artifact that made them.
        of: what it made them with, which is damaged where they are no numbers.

    Raises:
        InputError: one of them is NaN or infinite.
    """
    if not np.isfinite(numbers).all():
        raise InputError(f"the {what} gives NaN or infinity for logits: its {of} are damaged, make it again")
    return numbers


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def prepare_text(text: str, extractor: Extractor) -> str:
    """Cut, mask placeholders and lower-case as `extractor` says, in that order; offsets stay what they were.

    Lone surrogates, which no UTF-8 can hold, become U+FFFD. A letter whose lower case is longer than one
    character stays as it is.
    """
    if extractor.text_window is not None:
        text = text[: extractor.text_window]
    if not text.isascii():
        text = _LONE_SURROGATE.sub("\ufffd", text)
    if extractor.mask_placeholders:
        text = mask_placeholders(text)
    return _lower(text) if extractor.lower else text


def _lower(text: str) -> str:
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
