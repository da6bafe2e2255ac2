"""`store(entropy)` at the end of a recipe: a smaller file that answers the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from sympress.compression.recipe.language import parse_recipe
from sympress.compression.recipe.material import Material
from sympress.models.model import build_model, save_model
from sympress.runtime.artifact import (
    CODED_FILE,
    Extractor,
    check_files,
    model_bytes,
    model_file,
    read_extractor,
)
from sympress.runtime.session import Runtime, kernel_of, multiplies_integers
from sympress.studies.press import Compressed, press
from sympress.training.epochs import TrainSettings

WORDS = ("fever", "cough", "pain", "nausea", "chills", "patient", "denies", "reports", "with", "rash")
RNG = np.random.default_rng(1)
TEXTS = [" ".join(RNG.choice(WORDS, size=RNG.integers(3, 12))) for _ in range(24)]
TARGETS = RNG.integers(0, 2, size=(24, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def pressed(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Compressed]]:
    folder = tmp_path_factory.mktemp("store")
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    model.head.output.weight.data *= 50
    save_model(model, folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    material = Material("present", TEXTS[:16], TARGETS[:16], (), TEXTS[16:], TARGETS[16:], max_tokens=20)
    settings = Extractor(task="present", symptoms=["fever", "cough", "pain"], max_tokens=20, pad_id=0)

    def run(text: str) -> tuple[Path, Compressed]:
        draft = folder / f"{abs(hash(text))}"
        made = press(
            folder / "teacher",
            parse_recipe(text),
            material,
            TrainSettings(epochs=1, batch_size=8),
            settings,
            work=folder / "work" / draft.name,
            draft=draft,
            score=lambda _: (0.0, {}),
        )
        return draft, made

    return run


@pytest.mark.parametrize(
    "recipe",
    [
        "quantize(int8)",
        "quantize(int8, clusters=8)",
        "quantize(static, clusters=8, embeddings=4)",
        "mask(0.5) > quantize(int8, clusters=4)",
        "vocab(keep=0.8) > lowrank(rank=8, method=svd) > quantize(int8, clusters=6, aware=true)",
        "mask(0.9)",
    ],
)
def test_the_coded_file_holds_the_other_one_and_answers_bit_for_bit(
    pressed: Callable[[str], tuple[Path, Compressed]], recipe: str
) -> None:
    plain, made = pressed(recipe)
    coded, again = pressed(f"{recipe} > store(entropy)")
    assert model_bytes(coded) == (plain / "model.onnx").read_bytes()
    assert model_file(coded) == coded / CODED_FILE
    assert not (coded / "model.onnx").exists()
    assert model_file(coded).stat().st_size < 0.75 * model_file(plain).stat().st_size
    assert np.array_equal(*(Runtime.load(one).predict_logits(TEXTS) for one in (plain, coded)))
    assert again.parity == made.parity
    assert again.state.remarks[-1] == "store: the file is entropy-coded; loading decodes it"
    check_files(coded)
    assert read_extractor(coded) == read_extractor(plain)


def test_what_the_artifact_says_of_its_kernel_is_read_from_the_decoded_file(
    pressed: Callable[[str], tuple[Path, Compressed]],
) -> None:
    coded, made = pressed("quantize(int8) > store(entropy)")
    assert made.choice is not None
    assert made.choice.name == "dynamic-7bit"
    assert multiplies_integers(coded)
    assert kernel_of(coded) is None  # no provenance was written yet
