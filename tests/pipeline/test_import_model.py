"""Fine-tuned checkpoints of every supported family become artifacts with the same logits, or are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BigBirdConfig,
    CamembertConfig,
    LongformerConfig,
    MPNetConfig,
    PreTrainedTokenizerFast,
    T5Config,
    XLMRobertaConfig,
)

from sympress import Extractor
from sympress.cli.main import run
from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon
from sympress.models.huggingface import adopt, folder_digest, load_checkpoint
from sympress.models.model import SymptomModel, load_model, save_model
from sympress.pipeline.compress import load_teacher
from sympress.pipeline.import_model import Answers, ImportSettings, import_model, read_note_labels, read_tags
from sympress.runtime.session import Runtime

FAMILIES = ("bert", "roberta", "xlm-roberta", "electra", "distilbert", "modernbert", "deberta-v2")
IDS = [
    np.array(ids, dtype=np.int64) for ids in ([2, 5, 9, 7, 3], [2, 12, 6, 14, 8, 3], [2, *range(5, 40), 3])
]
NOTES = ["patient reports fever and chills", "denies cough, no rash after the dose"]
SEVERAL = {"id2label": {0: "fever", 1: "Cough", 2: "Zorblax"}, "problem_type": "multi_label_classification"}
ONE = {"problem_type": "single_label_classification"}
BIO = {"id2label": {0: "B-problem", 1: "O", 2: "I-problem"}}
BILOU_TAGS = ["O", *(f"{side}-{kind}" for kind in ("SYMPTOM", "SYMPTOM_ABSENT", "DRUG") for side in "BILU")]
BILOU = {"id2label": dict(enumerate(BILOU_TAGS))}
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, make_encoder: Callable, tokenizer: PreTrainedTokenizerFast) -> Save:
    """Saves a random checkpoint of a family as the Trainer does."""

    def saved(
        family: str, settings: dict[str, Any], *, tags: bool = False, into: Path | None = None, **more: Any
    ) -> Path:
        tiny = make_encoder("roberta" if family == "xlm-roberta" else family).config.to_dict()
        if family == "xlm-roberta":
            tiny.pop("model_type")
            config = XLMRobertaConfig(**tiny)
        else:
            config = AutoConfig.for_model(**tiny)
        held = dict(settings["id2label"])
        config.id2label, config.label2id = held, {name: at for at, name in held.items()}
        config.problem_type = settings.get("problem_type")
        for name, value in more.items():
            setattr(config, name, value)
        torch.manual_seed(1)
        auto = AutoModelForTokenClassification if tags else AutoModelForSequenceClassification
        model = auto.from_config(config).eval()
        for name, value in model.named_parameters():  # so that biases and norms matter
            if "encoder" not in name:
                value.data += 0.3 * torch.randn_like(value)
        folder = into or tmp_path / f"{family}-checkpoint"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return saved


def theirs(folder: Path, notes: Sequence[np.ndarray], *, tags: bool = False) -> list[np.ndarray]:
    auto = AutoModelForTokenClassification if tags else AutoModelForSequenceClassification
    model = auto.from_pretrained(folder).eval()
    with torch.inference_mode():
        return [model(input_ids=torch.from_numpy(note)[None]).logits[0].numpy() for note in notes]


def adopted(folder: Path) -> tuple[SymptomModel, Answers, float]:
    """The model that an import makes of a checkpoint, without its ONNX file."""
    checkpoint, lexicon = load_checkpoint(folder), load_lexicon("clinical")
    if checkpoint.kind == "tokens":
        answers = read_tags("tiny", checkpoint.labels, lexicon)
    else:
        answers = read_note_labels("tiny", checkpoint.labels, checkpoint.problem, lexicon)
    model, worst = adopt(checkpoint, answers.rows, IDS)
    assert not any(weight.is_inference() for weight in model.parameters())  # the exporter would fail once
    return model, answers, worst


def ours(model: SymptomModel, note: np.ndarray) -> np.ndarray:
    ids = torch.from_numpy(note)[None]
    with torch.inference_mode():
        return model(ids, torch.ones_like(ids))[0].numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_of_a_classifier_of_notes_stay_as_they_were(save: Save, tmp_path: Path, family: str):
    folder = save(family, SEVERAL)
    model, _, worst = adopted(folder)
    save_model(model, tmp_path / "saved")
    assert worst < 1e-4
    for again in (model, load_model(tmp_path / "saved")):
        for note, wanted in zip(IDS, theirs(folder, IDS), strict=True):
            np.testing.assert_allclose(ours(again, note), wanted, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_of_a_tagger_stay_as_they_were_in_the_order_of_our_tags(save: Save, family: str):
    folder = save(family, BIO, tags=True)
    model, answers, _ = adopted(folder)
    assert answers.names == ("O", "B-present", "I-present")
    for note, wanted in zip(IDS, theirs(folder, IDS, tags=True), strict=True):
        np.testing.assert_allclose(ours(model, note), wanted[:, [1, 0, 2]], atol=1e-4)


def test_an_imported_classifier_answers_as_its_checkpoint_does(save: Save, tmp_path: Path):
    folder = save("bert", SEVERAL)
    record = import_model(folder, tmp_path / "artifact", ImportSettings(max_tokens=16))
    extractor = Extractor.load(tmp_path / "artifact")
    for text, found in zip(NOTES, extractor.model.predict_logits(NOTES), strict=True):
        windows = theirs(folder, extractor.model.windows_of(text).windows)
        np.testing.assert_allclose(found, np.max(windows, axis=0), atol=1e-4)
    assert extractor.symptoms == ["fever", "cough", "Zorblax"]
    assert extractor.settings.codes["fever"]
    assert "Zorblax" not in extractor.settings.codes
    assert any("1 of 3 labels keep their names and have no code" in line for line in record["remarks"])
    assert record["source"]["digest"] == folder_digest(folder)
    assert load_teacher(str(tmp_path / "artifact"), extractor.settings).order == (0, 1, 2)
    result = extractor("fever and cough after the dose, " * 20)
    assert result.windows > 5
    assert not result.truncated


def test_tags_of_units_lasts_and_other_entities_keep_their_probability(save: Save, tmp_path: Path):
    folder = save("bert", BILOU, tags=True)
    record = import_model(folder, tmp_path / "artifact")
    runtime = Runtime.load(tmp_path / "artifact")
    assert runtime.extractor.tags == ["O", "B-present", "I-present", "B-absent", "I-absent"]
    Extractor.load(tmp_path / "artifact")(NOTES)
    (note,) = runtime.windows_of(NOTES[0]).windows
    (wanted,) = theirs(folder, [note], tags=True)
    wanted = np.exp(wanted) / np.exp(wanted).sum(axis=-1, keepdims=True)
    found = np.exp(runtime.logits_of(note))
    found /= found.sum(axis=-1, keepdims=True)
    place = {tag: at for at, tag in enumerate(BILOU_TAGS)}
    sums = [
        [place["O"], *(place[f"{side}-DRUG"] for side in "BILU")],
        *(
            [place[f"{side}-{kind}"] for side in sides]
            for kind in ("SYMPTOM", "SYMPTOM_ABSENT")
            for sides in ("BU", "IL")
        ),
    ]
    np.testing.assert_allclose(found, np.stack([wanted[:, own].sum(-1) for own in sums], -1), atol=1e-5)
    assert "symptoms are SYMPTOM, SYMPTOM_ABSENT; left out: DRUG" in record["remarks"]


def test_of_several_topics_each_note_has_one(save: Save, tmp_path: Path):
    folder = save("distilbert", ONE | {"id2label": {0: "fever", 1: "cough", 2: "nausea"}})
    import_model(folder, tmp_path / "artifact")
    found = Extractor.load(tmp_path / "artifact")
    (note,) = found.model.windows_of(NOTES[0]).windows
    wanted = theirs(folder, [note])[0]
    (symptom,) = found(NOTES[0]).symptoms
    assert symptom.symptom == ["fever", "cough", "nausea"][int(wanted.argmax())]
    assert found.task == "topic"


def test_of_two_labels_one_of_which_denies_the_other_is_found_with_its_own_probability(save: Save):
    folder = save("bert", ONE | {"id2label": {0: "fever", 1: "no fever"}})
    model, answers, _ = adopted(folder)
    assert (answers.task, answers.names) == ("present", ("fever",))
    for note, wanted in zip(IDS, theirs(folder, IDS), strict=True):
        both = torch.from_numpy(wanted).softmax(-1)
        assert 1 / (1 + np.exp(-ours(model, note)[0])) == pytest.approx(float(both[0]), abs=1e-5)
    save_model(model, folder / "again")  # a problem_type of one label a note would not fit what is left
    assert ours(load_model(folder / "again"), IDS[0]) == pytest.approx(ours(model, IDS[0]))


def test_a_label_that_names_no_symptom_is_left_out_of_several(save: Save):
    folder = save("bert", SEVERAL | {"id2label": {0: "No Finding", 1: "cough", 2: "loss of appetite"}})
    model, answers, _ = adopted(folder)
    assert model.symptoms == 2
    assert "left out, as they name no symptom: No Finding" in answers.remarks
    np.testing.assert_allclose(ours(model, IDS[0]), theirs(folder, IDS)[0][1:], atol=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernbert_pools_as_its_config_says(save: Save, pooling: str):
    model, _, worst = adopted(save("modernbert", SEVERAL, classifier_pooling=pooling))
    assert model.head.pooling == pooling
    assert worst < 1e-4


@pytest.mark.parametrize(
    ("labels", "settings", "said"),
    [
        ({0: "LABEL_0", 1: "LABEL_1"}, ONE, "names no symptom; name its labels in id2label"),
        ({0: "negative", 1: "positive"}, ONE, "'positive' names no symptom"),
        ({0: "none", 1: "fever", 2: "cough"}, ONE, "'none' says that it has no symptom"),
        ({0: "fever", 1: "cough"}, {}, "problem_type in config.json is missing; say with --labels-per-note"),
    ],
)
def test_labels_that_cannot_be_answered_truthfully_are_refused(
    save: Save, tmp_path: Path, labels: dict[int, str], settings: dict[str, str], said: str
):
    with pytest.raises(InputError, match=said):
        import_model(save("bert", settings | {"id2label": labels}), tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize("told", [None, "one", "several"])
def test_numbers_of_a_regression_are_no_logits_whatever_is_said(
    save: Save, tmp_path: Path, told: Literal["one", "several"] | None
):
    source = save("bert", {"problem_type": "regression", "id2label": {0: "fever", 1: "cough"}})
    with pytest.raises(InputError, match="is regression: its outputs are numbers, not logits") as refused:
        import_model(source, tmp_path / "artifact", ImportSettings(labels_per_note=told))
    assert "labels" not in str(refused.value)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (["O", "B-problem", "I-problem", "Q-problem"], "Q-problem: no known tag; tags are O, and B-, I-, L-"),
        (["O", "B-problem", "I-problem", "MID-problem"], "MID-problem: no known tag"),
        (["O", "B-problem", "I-problem", "i-problem"], "i-problem: no known tag"),
        (["O", "B-problem", "I-problem", "O-problem"], "O-problem: no known tag"),
        (["O", "B-problem", "I-problem", "X_test"], "X_test: no known tag"),
        (["O", "SYMPTOM"], "its labels are no tags"),
        (["O", "B-drug", "I-drug"], r"no entity is called a symptom; say which are with --entity \(drug\)"),
        (["O", "I-problem"], "no tag B- of problem"),
        (["B-problem", "I-problem"], "its labels are no tags"),
    ],
)
def test_tags_that_mark_no_symptoms_are_refused(save: Save, tmp_path: Path, tags: list[str], said: str):
    with pytest.raises(InputError, match=said):
        import_model(save("bert", {"id2label": dict(enumerate(tags))}, tags=True), tmp_path / "artifact")


def test_a_user_says_which_entities_are_symptoms():
    tags, lexicon = ["O", "B-X", "I-X", "B-Y", "I-Y"], load_lexicon("clinical")
    answers = read_tags("tiny", tags, lexicon, entities=("Y",))
    assert answers.rows == [((0, 1.0), (1, 1.0), (2, 1.0)), ((3, 1.0),), ((4, 1.0),)]
    assert answers.remarks[0] == "symptoms are Y; left out: X"


@pytest.mark.parametrize("sides", ["BIES", "BILU", "BMES", "BMEW"])
def test_every_tag_of_an_entity_counts_as_its_begin_or_its_middle(sides: str):
    tags = ["O", "[CLS]", "X", *(f"{side}_SYMPTOM" for side in sides)]
    answers = read_tags("tiny", tags, load_lexicon("clinical"))
    rows = [[at for at, _ in row] for row in answers.rows]
    assert rows == [[0, 1, 2], [3, 6], [4, 5]]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (MPNetConfig, "its architecture is 'mpnet'; checkpoints of bert, roberta, "),
        (CamembertConfig, "'camembert'"),
        (LongformerConfig, "'longformer'"),
        (BigBirdConfig, "'big_bird'"),
        (T5Config, "'t5'"),
    ],
)
def test_other_families_are_refused_before_their_weights_are_read(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, config: type, said: str
):
    config(architectures=["XForSequenceClassification"]).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=said):
        load_checkpoint(tmp_path)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin.index.json").write_text("{}")


def widen(folder: Path) -> None:
    wider = PreTrainedTokenizerFast.from_pretrained(folder)
    wider.add_tokens(["[DATE]"])
    wider.save_pretrained(folder)


def nest(folder: Path) -> None:
    inside = folder / "checkpoint-10"
    inside.mkdir()
    (folder / "config.json").rename(inside / "config.json")


def drop_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: one for name, one in weights.items() if "classifier" not in name}, folder / "model.safetensors"
    )


def spoil_numbers(folder: Path, name: str, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    next(one for key, one in weights.items() if name in key).view(-1)[-1] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: spoil_numbers(folder, "word_embeddings", np.nan), "word_embeddings.weight holds NaN"),
        (lambda folder: spoil_numbers(folder, "out_proj.bias", np.inf), "out_proj.bias holds NaN or an"),
        (lambda folder: edit(folder, layer_norm_eps=np.nan), r"config.json: not JSON \(ValueError\)"),
        (
            lambda folder: edit(folder, auto_map={"AutoModelForSequenceClassification": "own.Model"}),
            "program code of its own",
        ),
        (lambda folder: edit(folder, id2label={0: "fever", 1: "cough"}), "but id2label names 2 labels"),
        (lambda folder: edit(folder, id2label={0: "a", 1: "a", 2: "b"}), "has a label twice"),
        (lambda folder: edit(folder, id2label={1: "a", 2: "b", 3: "c"}), "does not name the labels 0 to K-1"),
        (lambda folder: edit(folder, id2label={0: "f" * 501, 1: "b", 2: "c"}), "more than 500 characters"),
        (lambda folder: edit(folder, id2label={0: "\ud800", 1: "b", 2: "c"}), "that cannot be printed"),
        (lambda folder: edit(folder, id2label={0: "\x1b[2J", 1: "b", 2: "c"}), "that cannot be printed"),
        (lambda folder: edit(folder, num_labels=2**31), "num_labels in config.json is no whole number up to"),
        (
            lambda folder: edit(folder, hidden_size=80_000, num_hidden_layers=900),
            r"config.json describes [\d,]+ parameters, more than weights of",
        ),
        (lambda folder: edit(folder, architectures=["XForMaskedLM"]), "architecture XForMaskedLM"),
        (lambda folder: edit(folder, architectures=5), "architecture none"),
        (lambda folder: edit(folder, pad_token_id=None), "no pad_token_id"),
        (lambda folder: edit(folder, pad_token_id=70), "pad_token_id in config.json is 70"),
        (shard, "its weights are pickles"),
        (widen, r"1 tokens more than the 54 embeddings, such as '\[DATE\]'"),
        (nest, "give one of its folders: checkpoint-10"),
        (drop_head, "the weights lack classifier"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named_in_one_line(
    save: Save, spoil: Callable[[Path], None], said: str
):
    folder = save("roberta", SEVERAL)
    spoil(folder)
    with pytest.raises(InputError, match=said) as raised:
        load_checkpoint(folder)
    assert "\n" not in str(raised.value)


def test_the_model_pads_as_its_config_says_where_positions_depend_on_it(save: Save):
    folder = save("roberta", SEVERAL, pad_token_id=1)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.tokenizer.pad_token_id == 1
    assert checkpoint.remarks == (
        "the tokenizer pads with 0, config.json says 1; 1 is used, as the model does",
    )


def test_an_id_of_the_hub_is_read_from_the_local_cache(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "hub" / "models--my-org--symptom-bert"
    save("bert", SEVERAL, into=cache / "snapshots" / "0123abcd")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0123abcd")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    checkpoint = load_checkpoint("my-org/symptom-bert")
    assert (checkpoint.name, checkpoint.labels) == ("my-org/symptom-bert", ("fever", "Cough", "Zorblax"))
    with pytest.raises(InputError, match="'my-org/other': no such folder, nor an id in the local cache"):
        load_checkpoint("my-org/other")


def test_the_command_says_what_it_made_and_refuses_to_overwrite(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["import", str(save("bert", SEVERAL)), "-o", str(tmp_path / "artifact")]
    for code, said in ((0, "next: sympress extract NOTES --model"), (2, "there is something already")):
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        printed = capsys.readouterr()
        assert (ended.value.code, said in printed.out + printed.err) == (code, True)
    with pytest.raises(SystemExit):
        run(["show", str(tmp_path / "artifact")])
    assert "present, 3 symptoms" in capsys.readouterr().out
