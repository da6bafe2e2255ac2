"""Artifacts that were altered and whose checksums were made anew: one clear line, whatever a file holds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sympress.errors import InputError
from sympress.files import SETTINGS_BYTES, read_object, read_settings
from sympress.labels.mentions import Mention
from sympress.results import load_results
from sympress.runtime.affirm import Fusion
from sympress.runtime.artifact import encode_model, read_extractor, write_checksums
from sympress.runtime.extractor import Extractor
from sympress.runtime.linker import MOST_FORMS_TOGETHER
from sympress.runtime.pack import summarize
from sympress.runtime.session import Runtime

NOTE = "Fever since Monday. Denies cough. No pain now."
ZEROS, ROW = np.zeros((1, 3), dtype=np.float32), np.array([-1])
INT64, STRING = TensorProto.INT64, TensorProto.STRING


@pytest.fixture
def altered(tiny_artifact: Path, tmp_path: Path) -> Callable[..., Path]:
    """An artifact with other settings, made by a function of its folder too, and checksums of what it is."""

    def make(change: Callable[[Path], object] | None = None, **settings: Any) -> Path:
        folder = Path(shutil.copytree(tiny_artifact, tmp_path / "altered"))
        path = folder / "extractor.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings), encoding="utf-8")
        if change is not None:
            change(folder)
        write_checksums(folder)
        return folder

    return make


def graph(
    last: list[onnx.NodeProto],
    output: onnx.ValueInfoProto | None,
    inputs: dict[str, int] | None = None,
    **constants: np.ndarray,
) -> bytes:
    """A graph that makes `zero` (notes, 1) of its word pieces, and of that what the nodes `last` say."""
    taken = {"input_ids": TensorProto.INT64, "attention_mask": TensorProto.INT64} | (inputs or {})
    known = {"second": np.array([1]), "none": np.float32(0)} | constants
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "second"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "none"], ["zero"]),
        *last,
    ]
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, kind, ["notes", "pieces"]) for name, kind in taken.items()],
        [output] if output else [],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in known.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def logits(*shape: str | int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("logits", kind, list(shape))


ADD = helper.make_node("Add", ["zero", "numbers_of"], ["logits"])
NO_GRAPH = "no graph from input_ids and attention_mask to logits, as deployed models are"


def cast(kind: int) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Add", ["zero", "numbers_of"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["logits"], to=kind),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (graph([], None), NO_GRAPH),
        (
            graph([helper.make_node("ReduceSum", ["numbers"], ["logits"], keepdims=0)], logits()),
            "gives logits of 0 axes, not 2",
        ),
        (
            graph([helper.make_node("Reshape", ["zero", "row"], ["logits"])], logits("n"), row=ROW),
            "gives logits of 1 axes, not 2",
        ),
        (graph([ADD], logits(1, 4, 3), numbers_of=np.zeros((1, 4, 3), np.float32)), "of 3 axes, not 2"),
        (graph(cast(INT64), logits("n", 3, kind=INT64), numbers_of=ZEROS), NO_GRAPH),
        (graph(cast(STRING), logits("n", 3, kind=STRING), numbers_of=ZEROS), NO_GRAPH),
        (
            graph(
                [helper.make_node("SequenceConstruct", ["zero"], ["logits"])],
                helper.make_tensor_sequence_value_info("logits", TensorProto.FLOAT, None),
            ),
            "model.onnx: holds the operator SequenceConstruct, which",
        ),
        (graph([ADD], logits("n", 3), {"token_type_ids": TensorProto.INT64}, numbers_of=ZEROS), NO_GRAPH),
        (graph([ADD], logits("n", 3), {"input_ids": TensorProto.FLOAT}, numbers_of=ZEROS), NO_GRAPH),
        (graph([ADD], logits("n", 4), numbers_of=np.zeros((1, 4), np.float32)), "gives 4 numbers where"),
    ],
    ids=["no output", "a number", "a row", "three axes", "integers", "words", "a list", "a third input",
         "numbers for pieces", "another width"],
)  # fmt: skip
def test_a_graph_that_is_no_model_of_ours_is_refused_when_it_is_loaded(
    altered: Callable[..., Path], content: bytes, problem: str
):
    folder = altered(lambda folder: (folder / "model.onnx").write_bytes(content))
    with pytest.raises(InputError) as refused:
        Extractor.load(folder)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def told(node: onnx.NodeProto, **more: Any) -> bytes:
    """A graph whose logits a node of any kind makes of `zero`."""
    model = onnx.load_from_string(graph([node], logits("n", 3), numbers_of=ZEROS))
    model.graph.MergeFrom(onnx.GraphProto(**more))
    return bytes(model.SerializeToString())


def endless() -> bytes:
    numbers, truth = helper.make_tensor_value_info("n", INT64, []), TensorProto.BOOL
    goes_on, going = (helper.make_tensor_value_info(name, truth, []) for name in ("goes_on", "going"))
    state, stated = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("s", "stated"))
    same = [helper.make_node("Identity", *names) for names in ((["going"], ["goes_on"]), (["s"], ["stated"]))]
    body = helper.make_graph(same, "body", [numbers, going, state], [goes_on, stated])
    return told(helper.make_node("Loop", ["", "", "zero"], ["logits"], body=body))


def with_function() -> bytes:
    model = onnx.load_from_string(told(ADD))
    adds = helper.make_node("Add", ["a", "a"], ["b"])
    twice = helper.make_function("", "Add", ["a"], ["b"], [adds], [helper.make_opsetid("", 17)])
    model.functions.append(twice)
    return bytes(model.SerializeToString())


def elsewhere() -> bytes:
    tensor = TensorProto(
        name="far", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="/etc/passwd")
    return told(ADD, initializer=[tensor])


def sparse() -> bytes:
    one, first = (
        numpy_helper.from_array(np.ones(1, np.float32), "wide"),
        numpy_helper.from_array(np.array([0])),
    )
    wide = onnx.SparseTensorProto(values=one, indices=first, dims=[10**10])
    return told(ADD, sparse_initializer=[wide])


OTHER_MAKER = helper.make_node("Attention", ["zero"], ["logits"], domain="com.microsoft")


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (endless(), "an attribute with field 6"),
        (told(helper.make_node("RandomNormal", [], ["logits"], shape=[1, 3])), "the operator RandomNormal"),
        (told(OTHER_MAKER), "the operator Attention"),
        (told(helper.make_node("\x1b[2J", ["zero"], ["logits"])), "the operator without a name"),
        (with_function(), "a model with field 25"),
        (elsewhere(), "a tensor with field 13"),
        (sparse(), "a graph with field 15"),
        (b"\x08\x01" * 1_000_001, "more parts than a model has"),
    ],
    ids=["a loop", "chance", "another domain", "no name", "a function", "another file", "a sparse tensor",
         "many parts"],
)  # fmt: skip
def test_a_graph_that_may_not_end_or_reads_other_files_is_not_run(
    altered: Callable[..., Path], content: bytes, holds: str
):
    folder = altered(lambda folder: (folder / "model.onnx").write_bytes(content))
    with pytest.raises(InputError) as refused:
        Extractor.load(folder)
    said = "which deployed models do not; make the artifact again"
    assert str(refused.value) == f"{folder / 'model.onnx'}: holds {holds}, {said}"


@pytest.mark.parametrize(
    "content",
    [told(ADD)[:-1], b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3b" * 40],
    ids=["cut off", "a long number", "groups"],
)
def test_what_is_no_graph_is_a_damaged_artifact(altered: Callable[..., Path], content: bytes):
    folder = altered(lambda folder: (folder / "model.onnx").write_bytes(content))
    with pytest.raises(InputError, match=r"a damaged artifact \(EOFError\); copy it again"):
        Extractor.load(folder)


def test_two_halves_of_a_graph_are_one_also_where_it_is_coded(altered: Callable[..., Path]):
    """Protobuf puts together what a message holds twice, and takes the last of what it has once."""

    def change(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(endless() + told(ADD))
        encode_model(folder / "model.onnx")

    with pytest.raises(InputError, match=r"model\.onnx\.gz: holds an attribute with field 6, which"):
        Extractor.load(altered(change))


def test_logits_of_another_shape_are_a_failure_and_no_answer(altered: Callable[..., Path]):
    """As many as a note has pieces; one alone would be taken for that of every symptom."""
    each = graph([helper.make_node("Mul", ["numbers", "none"], ["logits"])], logits("n", "symptoms"))
    extractor = Extractor.load(altered(lambda folder: (folder / "model.onnx").write_bytes(each)))
    result = extractor("fever cough")
    (shape,) = (one.shape for one in extractor.model.windows_of("fever cough").windows)
    assert result.failure == f"the model gives logits of shape {shape}, not (3,); make the artifact again"
    assert result.symptoms == ()


@pytest.mark.parametrize(
    ("codes", "book"),
    [([[0, 1, 9]], [0.0, 1.0]), ([[0, 1, -9]], [0.0, 1.0]), ([[0, 0, 0]], []), ([[0, 1, 1]], [0.0, np.nan])],
    ids=["beyond", "before", "empty", "no number"],
)
def test_a_codebook_that_lacks_what_its_codes_ask_for_is_a_failure(
    altered: Callable[..., Path], codes: list[list[int]], book: list[float]
):
    content = graph(
        [helper.make_node("Gather", ["book", "codes"], ["numbers_of"]), ADD],
        logits("n", 3),
        book=np.array(book, np.float32),
        codes=np.array(codes),
    )
    folder = altered(lambda folder: (folder / "model.onnx").write_bytes(content))
    try:
        failure = Extractor.load(folder)(NOTE).failure
    except InputError as error:
        failure = str(error)
    assert failure is not None
    assert "\n" not in failure


HUGE = [1.7e308] * 3


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"task": "topic", "calibration": {"a": HUGE, "b": [0.0] * 3}}, "calibration"),
        (
            {
                "lexicon": "clinical",
                "fusion": {"mentions": [["fever"], ["cough"], []], "slope": HUGE, "bias": HUGE}
                | {"present": [-one for one in HUGE], "denied": HUGE},
            },
            "fusion",
        ),
    ],
    ids=["calibration", "fusion"],
)
def test_numbers_that_overflow_are_a_failure_and_not_no_symptoms(
    altered: Callable[..., Path], settings: dict[str, Any], what: str
):
    failure = Extractor.load(altered(**settings))(NOTE).failure
    assert failure == f"the {what} gives NaN or infinity for logits: its numbers are damaged, make it again"


def test_a_fusion_that_names_a_symptom_without_end_takes_no_time():
    fusion = Fusion.neutral([["fever"] * 200_000, ["cough", "fever"]])
    assert fusion.signs([Mention(0, 5, "fever")]).tolist() == [[1, 0], [1, 0]]
    assert fusion._columns["fever"] == [0, 1]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_tokens": 10**12}, "damaged at max_tokens"),
        ({"\ud800": 1}, "damaged (a name is no text)"),
        ({"max_tokens": 512, "stride": 1}, "damaged (stride: less than a part in 16 of max_tokens)"),
        ({"evidence": {"fever": {"mentions": [], "words": ["a" * 5_000_000]}}}, "damaged at evidence.fever"),
        ({"evidence": {"fever": {"mentions": [], "words": ["a"] * 2_000}}}, "damaged at evidence.fever"),
    ],
)
def test_settings_that_take_memory_or_time_without_end_are_refused(
    altered: Callable[..., Path], settings: dict[str, Any], problem: str
):
    with pytest.raises(InputError) as refused:
        read_extractor(altered(**settings))
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    "template",
    [
        {"single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}] * 100},
        {"single": [{"Sequence": {"id": "A", "type_id": 0}}] * 100},
        {
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1] * 100_000, "tokens": ["[CLS]"] * 100_000}},
        },
    ],
    ids=["special tokens", "copies", "ids"],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_template_without_end_is_refused(
    altered: Callable[..., Path], template: dict[str, Any], nested: bool
):
    processor: dict[str, Any] = {"type": "TemplateProcessing", "pair": [], "special_tokens": {}} | template
    if nested:
        processor = {"type": "Sequence", "processors": [processor]}

    def change(folder: Path) -> None:
        raw = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(raw | {"post_processor": processor}))

    with pytest.raises(InputError, match="its template puts more than 64 parts around a text"):
        Runtime.load(altered(change))


FORMS = {"task": "mentions", "tags": None, "rules": True, "lexicon": "forms.json"}


@pytest.mark.parametrize(
    ("forms", "problem"),
    [
        ({"fever": "pyrexia"}, "forms.json: damaged at fever"),
        ({"fever": [1]}, "forms.json: damaged at fever.0"),
        ([["fever"]], "forms.json: damaged at"),
        ({"fever": ["f"] * (MOST_FORMS_TOGETHER + 1)}, "forms.json: 500,001 forms, 500,000 at most"),
    ],
    ids=["a word", "a number", "a list", "many"],
)
def test_forms_that_are_none_are_refused(altered: Callable[..., Path], forms: Any, problem: str):
    """The letters of a word that stands where a list should are no forms of a symptom."""
    folder = altered(lambda folder: (folder / "forms.json").write_text(json.dumps(forms)), **FORMS)
    with pytest.raises(InputError) as refused:
        Extractor.load(folder)
    assert problem in str(refused.value)


def large(path: Path) -> None:
    """A file of two gigabytes that takes no place on the disk."""
    with path.open("wb") as file:
        file.write(b'{"format": 1}')
        file.truncate(2 * 10**9)


@pytest.mark.parametrize("name", ["extractor.json", "checksums.json", "tokenizer.json"])
def test_a_file_of_gigabytes_is_not_read_into_memory(altered: Callable[..., Path], name: str):
    folder = altered()
    large(folder / name)
    with pytest.raises(InputError, match=f"{name}: more than 32 MB") as refused:
        (read_settings if name == "tokenizer.json" else Extractor.load)(
            folder / name if name == "tokenizer.json" else folder
        )
    assert "\n" not in str(refused.value)


def test_what_describes_an_artifact_is_not_read_into_memory_either(tmp_path: Path):
    for name in ("provenance.json", "results.json"):
        large(tmp_path / name)
    with pytest.raises(InputError, match=r"provenance\.json: more than 32 MB"):
        read_object(tmp_path / "provenance.json")
    with pytest.raises(InputError, match=r"results\.json: more than 32 MB"):
        load_results(tmp_path)
    (tmp_path / "most").write_bytes(b" " * SETTINGS_BYTES)
    assert len(read_settings(tmp_path / "most")) == SETTINGS_BYTES


@pytest.mark.timeout(30)
def test_a_card_that_is_a_pipe_or_has_gigabytes_is_no_card(altered: Callable[..., Path]):
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from sympress.serve.models import _card

    folder = altered()
    os.mkfifo(folder / "README.md")
    assert _card(folder) is None
    (folder / "README.md").unlink()
    large(folder / "README.md")
    assert _card(folder) is None
    (folder / "README.md").write_text("# A card", encoding="utf-8")
    assert _card(folder) == "# A card"


@pytest.mark.parametrize("content", ["[" * 50_000, '{"format": ' + "9" * 5_000 + "}", "null", '"x"', ""])
def test_results_and_provenance_of_any_shape_are_one_line(
    altered: Callable[..., Path], tmp_path: Path, content: str
):
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_results(tmp_path)
    assert "\n" not in str(refused.value)
    folder = altered(lambda folder: (folder / "provenance.json").write_text(content, encoding="utf-8"))
    assert summarize(folder)["kernel"].startswith("none")
