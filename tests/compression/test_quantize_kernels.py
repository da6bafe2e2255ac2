"""Static and weight-only files, sensitivity by layer, and the choice among all kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from sympress.compression.export import export_onnx
from sympress.compression.quantize import kernels as weightonly
from sympress.compression.quantize.choose import (
    KERNELS,
    Candidate,
    LayerError,
    available_kernels,
    build_candidates,
    choose_float,
    choose_kernel,
    fastest,
    layer_sensitivity,
    logits_of,
)
from sympress.compression.quantize.kernels import (
    input_ranges,
    least_error_range,
    linear_nodes,
    percentile_range,
    quantize_calibrated,
    quantize_linears,
    quantize_onnx,
    quantize_weights_only,
    weight_only_bits,
)
from sympress.errors import InputError
from sympress.evaluation.cost import time_in_turn
from sympress.models.model import build_model

RNG = np.random.default_rng(1)
NOTES = [RNG.integers(5, 54, size=length).astype(np.int64) for length in (4, 9, 17, 30)]


@pytest.fixture(scope="module")
def source(make_encoder: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT; its first layer's neurons are loud, so that rounding hurts behind them and in the head."""
    model = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    model.head.output.weight.data *= 50
    loud = model.encoder.encoder.layer[0].intermediate.dense
    loud.weight.data[0] *= 400
    path = tmp_path_factory.mktemp("kernels") / "model.onnx"
    export_onnx(model, path)
    return path


def operations(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def constants(path: Path) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "error"])
def test_a_static_file_is_close_and_has_no_range_left_to_measure(
    source: Path, tmp_path: Path, calibration: str
):
    target = tmp_path / "static.onnx"
    quantize_calibrated(source, target, NOTES, reduce_range=False, calibration=calibration)
    found = operations(target)
    assert found["DynamicQuantizeLinear"] == 0
    assert found["QuantizeLinear"] == len(linear_nodes(onnx.load(source)))
    reference = logits_of(source, NOTES)
    assert np.abs(logits_of(target, NOTES) - reference).mean() < 0.1 * np.abs(reference).max()


def test_static_scales_are_the_calibrated_ones(source: Path, tmp_path: Path):
    target = tmp_path / "static.onnx"
    quantize_calibrated(source, target, NOTES, reduce_range=False)
    model = onnx.load(source)
    ranges = input_ranges(model, linear_nodes(model), NOTES, "minmax")
    low, high = ranges["tanh"]
    assert -1 < low < 0 < high < 1
    values = constants(target)
    assert values["tanh_scale"] == pytest.approx((high - low) / 255, rel=2e-2)  # embeddings are rounded too
    assert values["tanh_zero_point"] == pytest.approx(-low / values["tanh_scale"], abs=0.51)
    assert values["tanh_zero_point"].dtype == np.uint8


def test_layers_kept_in_float_have_no_static_range(source: Path, tmp_path: Path):
    target = tmp_path / "static.onnx"
    names = linear_nodes(onnx.load(source))
    quantize_calibrated(source, target, NOTES, reduce_range=True, keep_float=[names[0], names[-1]])
    assert operations(target)["QuantizeLinear"] == len(names) - 2
    assert names[-1] in linear_nodes(onnx.load(target))


def test_a_range_of_all_but_a_few_values():
    counts = np.zeros(100)
    counts[40:60] = 1e6
    counts[99] = 1  # one outlier in twenty million
    assert percentile_range(counts, (-1.0, 1.0)) == pytest.approx((-0.2, 0.2))
    assert percentile_range(np.ones(100), (0.0, 5.0)) == (0.0, 5.0)


def test_a_range_with_the_least_squared_error_clips_outliers_only_when_that_pays():
    even = np.ones(1000)
    assert least_error_range(even, (-1.0, 1.0)) == (-1.0, 1.0)
    counts = np.zeros(1000)
    counts[450:550] = 1e7
    counts[999] = 1
    low, high = least_error_range(counts, (-1.0, 1.0))
    assert -low == high < 0.5


def test_a_calibration_set_needs_notes_and_a_known_method(source: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"^a calibration set without notes: static int8 needs at least one"):
        quantize_calibrated(source, tmp_path / "t.onnx", [], reduce_range=True)
    with pytest.raises(
        InputError, match=r"^calibration 'minmix' is not one of .* \(did you mean 'minmax'\?\)$"
    ):
        quantize_calibrated(source, tmp_path / "t.onnx", NOTES, reduce_range=True, calibration="minmix")


@pytest.mark.parametrize(("bits", "largest"), [(8, 0.02), (4, 0.3)])
def test_weights_alone_in_few_bits(source: Path, tmp_path: Path, bits: int, largest: float):
    if bits not in weight_only_bits():
        pytest.skip(f"this runtime has no {bits}-bit kernel")
    target = tmp_path / "weights.onnx"
    names = linear_nodes(onnx.load(source))
    quantize_weights_only(source, target, bits=bits, keep_float=[names[0]])
    assert operations(target)["MatMulNBits"] == len(names) - 3  # the head's two Gemm and the kept one
    reference = logits_of(source, NOTES)
    error = np.abs(logits_of(target, NOTES) - reference).mean() / reference.std()
    assert 0 < error < largest


def test_a_missing_kernel_and_a_bad_block_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(InputError, match=r"^weight-only block 24: must be a power of two, at least 16$"):
        quantize_weights_only(source, tmp_path / "t.onnx", block=24)
    monkeypatch.setattr(weightonly, "weight_only_bits", lambda: (8,))
    with pytest.raises(
        InputError, match=r"^weight-only 4 bits: onnxruntime \S+ has kernels for 8 bits here$"
    ):
        quantize_weights_only(source, tmp_path / "t.onnx", bits=4)


def test_a_width_without_kernel_is_found_by_trying():
    assert not weightonly._runs(3)


@pytest.fixture(scope="module")
def sensitivity(source: Path) -> list[LayerError]:
    return layer_sensitivity(source, NOTES, reduce_range=True)


def test_sensitivity_names_every_layer_worst_first(source: Path, sensitivity: list[LayerError]):
    names = linear_nodes(onnx.load(source))
    assert sorted(layer.name for layer in sensitivity) == sorted(names)
    errors = [layer.error for layer in sensitivity]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] >= 0
    behind_the_loud_neuron = names[5]  # the first layer's way out of the neurons
    assert behind_the_loud_neuron == next(layer.name for layer in sensitivity if "Gemm" not in layer.name)


def test_the_error_of_a_layer_is_that_of_the_deployed_kernel(
    source: Path, sensitivity: list[LayerError], tmp_path: Path
):
    model, reference = onnx.load(source), logits_of(source, NOTES)
    gemm = next(layer for layer in sensitivity if "Gemm" in layer.name)
    for layer in (sensitivity[0], sensitivity[5], gemm):
        quantize_linears(model, tmp_path / "one.onnx", [layer.name], reduce_range=True)
        deployed = float(np.abs(logits_of(tmp_path / "one.onnx", NOTES) - reference).mean())
        assert layer.error == pytest.approx(deployed, rel=0.02)
        model = onnx.load(source)


def test_keeping_the_worst_layers_in_float_helps(source: Path, sensitivity: list[LayerError], tmp_path: Path):
    reference = logits_of(source, NOTES)
    errors = []
    for count in (0, 3, len(sensitivity)):
        quantize_onnx(
            source, tmp_path / "t.onnx", reduce_range=True, keep_float=choose_float(sensitivity, count=count)
        )
        errors.append(float(np.abs(logits_of(tmp_path / "t.onnx", NOTES) - reference).mean()))
    assert errors[0] > 1.2 * errors[1] > 1.2 * errors[2] * 0.9


def test_layers_are_chosen_by_count_or_by_share_of_the_error():
    layers = [LayerError("b", 3.0), LayerError("a", 6.0), LayerError("c", 1.0)]
    assert choose_float(layers, count=2) == ("a", "b")
    assert choose_float(layers, share=0.6) == ("a",)
    assert choose_float(layers, share=0.61) == ("a", "b")
    assert choose_float(layers, share=0.0) == ()
    assert choose_float(layers, share=1.0) == ("a", "b", "c")
    for bad in ({"count": 4}, {"count": -1}, {"share": 1.5}, {}, {"count": 1, "share": 0.5}):
        with pytest.raises(InputError):
            choose_float(layers, **bad)


def candidate(name: str, ms: float, error: float) -> Candidate:
    return Candidate(name, 1000, ms, error, 2 * error)


def test_the_fastest_of_the_accurate_is_taken():
    table = [candidate("fast", 1.0, 0.5), candidate("right", 2.0, 0.12), candidate("best", 4.0, 0.1)]
    assert fastest(table, 0.05) == "right"
    assert fastest(table, 1.0) == "fast"
    assert fastest(table, 0.0) == "best"


def test_times_that_the_clock_cannot_tell_apart_are_decided_by_accuracy():
    table = [candidate("a", 1.0, 0.2), candidate("b", 1.02, 0.1), candidate("c", 1.1, 0.0)]
    assert fastest(table, 1.0) == "b"


@dataclass(frozen=True)
class Clock:
    latency_ms_p50: float


def test_the_choice_lists_all_candidates_and_can_be_overridden(source: Path, tmp_path: Path):
    built = build_candidates(source, tmp_path, NOTES)
    assert tuple(built) == available_kernels()

    def told(
        models: Mapping[str, Callable[[int], object]], notes: int, *, reference: str
    ) -> dict[str, Clock]:
        assert notes == len(NOTES)
        assert all(run(index) is not None for run in models.values() for index in range(notes))
        assert reference == "fp32"
        return {name: Clock(1.0 if name == "static-7bit" else 2.0) for name in models}

    choice = choose_kernel(built, NOTES, reference=source, time_in_turn=told, tolerance=10.0)
    assert (choice.name, choice.automatic) == ("static-7bit", True)
    first, *rest = choice.candidates
    assert asdict(first) == {
        "name": "fp32",
        "size_bytes": source.stat().st_size,
        "latency_ms": 2.0,
        "mean_error": 0.0,
        "max_error": 0.0,
    }
    assert [row.name for row in rest] == list(built)
    assert all(0 < row.mean_error <= row.max_error and row.size_bytes < first.size_bytes for row in rest)
    forced = choose_kernel(
        built, NOTES, reference=source, time_in_turn=time_in_turn, name="dynamic-8bit", threads=1
    )
    assert (forced.name, forced.automatic) == ("dynamic-8bit", False)
    assert all(row.latency_ms > 0 for row in forced.candidates)


def test_candidates_and_choices_that_do_not_exist(source: Path, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"^unknown kernel 'static-8bits' \(did you mean 'static-8bit'\?\); known"
    ):
        build_candidates(source, tmp_path, NOTES, names=["static-8bits"])
    only = {"dynamic-7bit": source}
    with pytest.raises(InputError, match=r"^kernel 'static-8bit' is not among the candidates"):
        choose_kernel(only, NOTES, reference=source, time_in_turn=time_in_turn, name="static-8bit")
    with pytest.raises(InputError, match=r"^tolerance -1: must be 0 or more$"):
        choose_kernel(only, NOTES, reference=source, time_in_turn=time_in_turn, tolerance=-1)
    with pytest.raises(InputError, match=r"^no kernel to choose from"):
        choose_kernel({}, NOTES, reference=source, time_in_turn=time_in_turn)
    with pytest.raises(InputError, match=r"^a validation set without notes"):
        choose_kernel(only, [], reference=source, time_in_turn=time_in_turn)
    assert set(available_kernels()) <= set(KERNELS)
