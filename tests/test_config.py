"""The configuration: protocols fill what is left open, and a mistake is one line."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sympress.config import ENCODERS, PROTOCOLS, StudyConfig, check_seed, make_config, read_config_file
from sympress.errors import InputError


def test_the_paper_protocol_is_the_published_procedure():
    config = StudyConfig(notes=Path("NOTEEVENTS.csv")).resolved()
    assert config.encoder == "emilyalsentzer/Bio_ClinicalBERT"
    assert (config.split, config.rule, config.text_window, config.lower) == ("random", "first", 1000, True)
    assert (config.max_tokens, config.batch_size, config.epochs) == (256, 16, 5)
    assert (config.learning_rate, config.head_rate_ratio, config.pooling) == (3e-5, 1.0, "cls")
    assert (config.schedule, config.warmup_share, config.select) == ("cosine", 0.0, "last")
    assert (config.temperature, config.alpha, config.masked_share, config.rank) == (4.0, 0.5, 0.3, 32)
    assert config.balance is config.published_variants is True


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("encoder", ["bundled", "some/encoder"])
def test_every_open_setting_is_filled_from_protocol_and_encoder(protocol: str, encoder: str):
    config = StudyConfig(protocol=protocol, encoder=encoder).resolved()
    expected = PROTOCOLS[protocol] | ENCODERS.get(encoder, ENCODERS[""])
    assert {name: getattr(config, name) for name in expected} == expected


def test_defaults_of_protocols_and_encoders_name_settings_that_are_open():
    for defaults in (*PROTOCOLS.values(), *ENCODERS.values()):
        for name in defaults:
            assert StudyConfig.model_fields[name].default is None, name
    assert len({frozenset(defaults) for defaults in PROTOCOLS.values()}) == 1


def test_synthetic_notes_come_with_the_bundled_encoder_and_its_own_rates():
    config = StudyConfig().resolved()
    assert (config.encoder, config.learning_rate, config.pooling) == ("bundled", 2e-4, "maximum")


def test_what_is_given_wins():
    given: dict[str, Any] = {
        "learning_rate": 1e-3,
        "pooling": "label",
        "lower": False,
        "balance": False,
        "warmup_share": 0.0,
        "max_tokens": 64,
        "split": "patient",
    }
    config = StudyConfig(**given).resolved()
    assert {name: getattr(config, name) for name in given} == given


def test_a_text_window_of_zero_means_all_of_the_note():
    assert StudyConfig(text_window=0).resolved().text_window == 0
    assert StudyConfig(text_window=300).resolved().text_window == 300
    assert StudyConfig(protocol="clinical").resolved().text_window == 0


@pytest.mark.parametrize(
    "config", [StudyConfig(text_window=0), StudyConfig(protocol="clinical"), StudyConfig()]
)
def test_resolving_again_changes_nothing(config: StudyConfig):
    assert config.resolved().resolved() == config.resolved()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_config_survives_json(protocol: str):
    given = {"notes": "a.csv", "test_from": "2005-01-01", "strategies": ["pruning"]}
    config = make_config({"protocol": protocol, **given})
    for one in (config, config.resolved()):
        assert StudyConfig.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "unknown setting 'epoch' (did you mean 'epochs'?)"),
        ({"learning_rte": 3}, "unknown setting 'learning_rte' (did you mean 'learning_rate'?)"),
        ({"zzzz": 3}, "unknown setting 'zzzz'"),
        ({"learning_rate": float("inf")}, "--learning-rate inf: input should be a finite number"),
        ({"threads": 10**8}, "--threads 100000000: input should be less than or equal to 1024"),
        ({"epochs": 0}, "--epochs 0: input should be greater than or equal to 1"),
        ({"fraction": 1.5}, "--fraction 1.5: input should be less than or equal to 1"),
        ({"masked_share": 1.0}, "--masked-share 1.0: input should be less than 1"),
        ({"keep_heads": 0.0}, "--keep-heads 0.0: input should be greater than 0"),
        ({"alpha": -0.1}, "--alpha -0.1: input should be greater than or equal to 0"),
        ({"protocol": "papper"}, "--protocol 'papper' is not one of paper, clinical (did you mean 'paper'?)"),
        ({"top_k": 1}, "--top-k 1: input should be greater than or equal to 2"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_setting(values: dict[str, Any], message: str):
    with pytest.raises(InputError) as caught:
        make_config(values)
    assert str(caught.value) == message


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_a_library_does_not_take_is_one_line(seed: int):
    assert check_seed(2**32 - 1) == 2**32 - 1
    with pytest.raises(InputError, match=f"^--seed {seed}: give a whole number from 0 to 4294967295$"):
        check_seed(seed)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": "three"},
        {"test_from": "someday"},
        {"train_from": "-1"},
        {"train_from": "2020-01-01T00:00:00+01:00"},
        {"strategies": "pruning"},
        {"lower": "perhaps"},
    ],
)
def test_a_value_of_the_wrong_kind_is_one_line(values: dict[str, Any]):
    (name,) = values
    with pytest.raises(InputError) as caught:
        make_config(values)
    message = str(caught.value)
    assert message.startswith(f"--{name.replace('_', '-')} {values[name]!r}: ")
    assert "\n" not in message


def test_a_config_is_frozen_and_takes_no_unknown_key():
    config = StudyConfig()
    with pytest.raises(ValidationError):
        config.epochs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        StudyConfig(epoch=3)  # type: ignore[call-arg]


def test_a_toml_file_has_the_same_keys(tmp_path: Path):
    path = tmp_path / "study.toml"
    content = 'protocol = "clinical"\ntest_from = 2005-01-01\nstrategies = ["pruning"]\n'
    path.write_text(content, encoding="utf-8")
    config = make_config(read_config_file(path))
    assert (config.protocol, config.strategies) == ("clinical", ("pruning",))
    assert (config.test_from.year, config.test_from.month) == (2005, 1)


def test_a_missing_toml_file_is_one_line(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        read_config_file(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: cannot be read (No such file or directory)"


@pytest.mark.parametrize("content", [b"epochs = ", b"epochs: 3\n", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_config_file(path)
    assert str(caught.value).startswith(f"{path}: not TOML (")
    assert "\n" not in str(caught.value)


def test_every_setting_but_the_protocol_is_in_one_part_and_read_from_it():
    config = StudyConfig(top_k=7, epochs=3, rank=8, threads=2)
    parts = [config.data, config.training, config.compression, config.measurement]
    names = [name for part in parts for name in type(part).model_fields]
    assert sorted([*names, "protocol"]) == sorted(StudyConfig.model_fields)
    for part in parts:
        assert part.model_dump().items() <= config.model_dump().items()


def test_what_goes_on_in_a_folder_may_add_rows_and_measure_anew_and_nothing_else():
    config = StudyConfig()
    more = {"strategies": ("pruning",), "recipes": ("pocket",), "transfer_fraction": 0.5, "seeds": 3}
    more |= {"transfer_from": "1990"}
    moved = {"notes": Path("b.csv"), "gold": Path("g"), "lexicon": "l.tsv", "encoder": "e"}
    assert (
        StudyConfig(
            **more,
            **moved,
            resamples=50,
            threads=4,
            margin=0.02,
            baseline_longer=False,
            keep_weights=False,
        ).fixed()
        == config.fixed()
    )
    free = {*more, *moved, "resamples", "threads", "margin", "baseline_longer", "keep_weights"}
    assert config.fixed().keys() == StudyConfig.model_fields.keys() - free


@pytest.mark.parametrize("given", ["2004", 2004, "2004-01-01", datetime(2004, 1, 1), " 2004 "])
@pytest.mark.parametrize("name", ["train_from", "validation_from", "test_from"])
def test_a_year_is_its_first_day_and_not_a_count_of_seconds(name: str, given: Any):
    assert getattr(make_config({name: given}), name) == datetime(2004, 1, 1)


@pytest.mark.parametrize("given", ["204", "20040", "1072915200", "last year", True])
def test_what_is_no_day_and_no_year_is_refused(given: Any):
    with pytest.raises(InputError, match=r"^--train-from "):
        make_config({"train_from": given})
