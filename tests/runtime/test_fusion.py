"""A model's logits weighed against what rules find: fitted, stored, and the same wherever a note is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sympress.errors import InputError
from sympress.evaluation.probabilities import fit_fusion, fit_platt
from sympress.labels.mentions import Mention
from sympress.runtime.affirm import Fusion
from sympress.runtime.artifact import read_extractor, write_checksums, write_extractor
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import with_rules
from sympress.runtime.session import Runtime

NOTE = "Fever since Monday. Denies cough. No pain now, but pain in the back last night."
FUSION = Fusion(
    mentions=[["fever"], ["cough"], []],
    slope=[0.5, 1.0, 1.0],
    bias=[0.0, 0.0, -0.25],
    present=[3.0, 2.0, 0.0],
    denied=[-1.0, -4.0, 0.0],
)


@pytest.fixture
def fused(tiny_artifact: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tiny_artifact, tmp_path / "fused"))
    settings = read_extractor(folder).model_copy(update={"fusion": FUSION, "lexicon": "clinical"})
    write_extractor(folder, settings)
    write_checksums(folder)
    return folder


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def test_a_present_mention_outweighs_denied_ones_of_the_same_symptom() -> None:
    mentions = [Mention(0, 4, "cough", "absent"), Mention(9, 13, "cough"), Mention(20, 24, "fever", "family")]
    assert FUSION.signs(mentions).tolist() == [[0, 1], [1, 0], [0, 0]]
    assert FUSION.signs([Mention(0, 4, None), Mention(5, 9, "rash")]).sum() == 0


def test_the_fused_logit_is_the_sum_that_its_description_gives() -> None:
    signs = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    fused = FUSION.apply(np.array([2.0, 2.0, 2.0], dtype=np.float32), signs)
    assert fused.tolist() == [4.0, -2.0, 1.75]
    neutral = Fusion.neutral(FUSION.mentions)
    assert neutral.apply(np.array([2.0, -1.0, 0.5], dtype=np.float32), signs).tolist() == [2.0, -1.0, 0.5]


def test_fitting_recovers_what_each_source_says_and_an_unseen_sign_takes_the_weight_of_all() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(6000, 2)) * 2
    present = random.random((6000, 2)) < 0.3
    signs = np.stack([present, ~present & (random.random((6000, 2)) < 0.2)], axis=-1).astype(float)
    honest = 0.5 * logits - 1 + signs @ np.array([2.0, -1.5])
    targets = (random.random((6000, 2)) < sigmoid(honest)).astype(np.uint8)
    slopes, shifts, weights = fit_fusion(logits, signs, targets)
    assert slopes == pytest.approx([0.5, 0.5], abs=0.06)
    assert shifts == pytest.approx([-1, -1], abs=0.15)
    assert weights == pytest.approx(np.array([[2.0, -1.5]] * 2), abs=0.25)
    silent = signs.copy()
    silent[:, 1] = 0  # no note has the words of the second symptom: the first one's are all that is known
    _, _, taken = fit_fusion(logits, silent, targets)
    assert taken[1] == pytest.approx(taken[0], abs=0.6)
    assert (np.sign(taken[1]) == [1, -1]).all()


def test_without_signs_it_is_platt_scaling() -> None:
    random = np.random.default_rng(1)
    logits, targets = random.normal(size=(200, 3)), random.integers(0, 2, (200, 3))
    slopes, shifts, weights = fit_fusion(logits, np.zeros((200, 3, 0)), targets)
    assert (slopes.tolist(), shifts.tolist()) == tuple(part.tolist() for part in fit_platt(logits, targets))
    assert weights.shape == (3, 0)


def test_study_and_extract_read_the_same_fused_logits(fused: Path, tiny_artifact: Path) -> None:
    plain, runtime, extractor = Runtime.load(tiny_artifact), Runtime.load(fused), Extractor.load(fused)
    network = plain.predict_logits([NOTE])[0]
    assert runtime.network_logits(NOTE).tolist() == network.tolist()
    signs = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    expected = FUSION.apply(network, signs)
    assert runtime.predict_logits([NOTE])[0].tolist() == expected.tolist()
    assert extractor.note_logits(NOTE)[0].tolist() == expected.tolist()
    affirmed = {name for name, logit in zip(extractor.symptoms, expected, strict=True) if logit >= 0}
    assert {one.symptom for one in extractor(NOTE).symptoms} == affirmed


def test_beside_rules_nothing_is_affirmed_without_a_present_mention(fused: Path) -> None:
    write_extractor(fused, with_rules(read_extractor(fused)))
    write_checksums(fused)
    extractor = Extractor.load(fused)
    result = extractor(NOTE)
    assert {one.symptom for one in result.symptoms} <= {
        one.symptom for one in result.mentions if one.assertion == "present"
    }
    fever = next(one for one in result.symptoms if one.symptom == "fever")
    alone = Runtime.load(fused).predict([NOTE])[0][0]
    assert fever.probability == pytest.approx(alone)


def test_a_fusion_that_does_not_fit_is_refused(fused: Path) -> None:
    with pytest.raises(ValidationError, match="a slope is not positive"):
        Fusion.model_validate(FUSION.model_dump() | {"slope": [0.0, 1.0, 1.0]})
    with pytest.raises(ValidationError, match="its lists are not of one length"):
        Fusion.model_validate(FUSION.model_dump() | {"bias": [0.0]})
    path = fused / "extractor.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    for change, problem in (
        ({"lexicon": None}, "fusion: without a lexicon, or of spans"),
        ({"fusion": Fusion.neutral([["fever"]]).model_dump()}, "not one entry for each of 3 symptoms"),
    ):
        path.write_text(json.dumps(stored | change), encoding="utf-8")
        with pytest.raises(InputError, match=problem):
            read_extractor(fused)


def test_an_artifact_without_a_fusion_is_read_as_before(tiny_artifact: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_artifact, tmp_path / "older"))
    path = folder / "extractor.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored.pop("fusion") is None
    path.write_text(json.dumps(stored), encoding="utf-8")
    write_checksums(folder)
    assert Runtime.load(folder).extractor.fusion is None
