from __future__ import annotations

import pytest

from sympress.report.advice import advise
from sympress.report.verdict import verdict
from sympress.results import Estimate


def test_a_reference_that_wins_comes_first_then_who_is_free_who_pays_who_gains_nothing(results):
    assert verdict(results) == [
        "The lexicon rule beats every trained model here: F1 1.000 [0.980, 1.020] against "
        "0.930 [0.910, 0.950] of the best model, baseline; it reproduces the test labels exactly, so "
        "the models only relearn a lookup.",
        "TF-IDF with logistic regression stays below the best trained model: F1 0.850 [0.830, 0.870] "
        "against 0.930 [0.910, 0.950] of the best model, baseline.",
        "distillation is smaller (0.50× the bytes) and faster (0.50× the latency); "
        "there are too few notes to tell whether it keeps macro F1 within 0.010 (−0.010 [−0.022, +0.002]).",
        "quantization is smaller (0.25× the bytes) and faster (0.90× the latency); "
        "it loses macro F1 (−0.050 [−0.070, −0.030]; corrected p <0.001).",
        "pruning-masked gains nothing in cost, neither smaller (1.00× the bytes) nor faster "
        "(1.00× the latency), and 25% of its weights are zeros that stay in the file and are multiplied; "
        "there are too few notes to tell whether it keeps macro F1 within 0.010 (−0.005 [−0.012, +0.002]).",
    ]


def test_a_reference_below_the_models_is_not_said_to_win(make_run, make_strategy):
    lines = verdict(make_run(make_strategy("baseline", 0.9), make_strategy("rule", 0.8)))
    assert lines[0].startswith("The lexicon rule stays below the best trained model: F1 0.800")


@pytest.mark.parametrize(
    ("difference", "verb", "doubt"),
    [
        ((0.1, 0.02, 0.2), "beats", ""),
        ((0.1, 0.0, 0.2), "scores above",
         ", which may be chance (macro F1 to the baseline: +0.100 [0.000, +0.200])"),
    ],
)  # fmt: skip
def test_a_win_that_may_be_chance_is_said_to_be_so(difference, verb, doubt, make_run, make_strategy):
    rows = [make_strategy("baseline", 0.8), make_strategy("rule", 0.9, difference=difference)]
    assert verdict(make_run(*rows)) == [
        f"The lexicon rule {verb} every trained model here: F1 0.900 [0.880, 0.920] "
        f"against 0.800 [0.780, 0.820] of the best model, baseline{doubt}."
    ]


def test_the_winning_reference_stands_before_the_losing_one(make_run, make_strategy):
    rows = [make_strategy("baseline", 0.9), make_strategy("rule", 0.8), make_strategy("tfidf", 0.95)]
    assert verdict(make_run(*rows))[0].startswith("TF-IDF with logistic regression beats every trained model")


def test_an_equal_reference_is_said_to_be_equal(make_run, make_strategy):
    lines = verdict(make_run(make_strategy("baseline", 0.9), make_strategy("tfidf", 0.9)))
    assert lines[0].startswith("TF-IDF with logistic regression does as well as the best trained model")


def test_smaller_needs_every_seed_and_the_measurement_not_the_ratio(make_run, make_strategy):
    rows = [make_strategy("baseline", seed=seed) for seed in (0, 1)]
    rows += [
        make_strategy("lowrank", seed=seed, difference=(0.02, 0.01, 0.03), size=40_000_000, smaller=seed == 0)
        for seed in (0, 1)
    ]
    line = verdict(make_run(*rows))[-1]
    assert line.startswith("lowrank gains nothing in cost, neither smaller (0.50× the bytes)")
    assert line.endswith("it gains macro F1 (+0.020 [+0.010, +0.030], 2 seeds together; corrected p <0.001).")


def test_one_sided_gains_are_named(make_run, make_strategy):
    rows = [
        make_strategy("baseline"),
        make_strategy("pruning", difference=(0.0, -0.01, 0.01), faster=True, p50=7.0),
        make_strategy("quantization", difference=(0.0, -0.01, 0.01), smaller=True, size=20_000_000),
    ]
    lines = verdict(make_run(*rows))
    assert lines[0].startswith("pruning is faster (0.70× the latency) but not smaller (1.00× the bytes);")
    assert lines[1].startswith(
        "quantization is smaller (0.25× the bytes) but not faster (1.00× the latency);"
    )


def test_an_undefined_difference_is_never_called_free(make_run, make_strategy):
    rows = [make_strategy("baseline"), make_strategy("pruning", difference=(None, None, None), faster=True)]
    assert verdict(make_run(*rows))[-1].endswith("its macro F1 difference to the baseline is undefined.")


def test_no_baseline_is_said(make_run, make_strategy):
    assert verdict(make_run(make_strategy("lowrank"))) == [
        "This run has no baseline: nothing here says what compression costs."
    ]


def test_a_strategy_that_was_not_compared_is_said_to_be_so(make_run, make_strategy):
    assert verdict(make_run(make_strategy("baseline"), make_strategy("lowrank"))) == [
        "lowrank was not compared with the baseline."
    ]


def test_a_micro_f1_decides_where_the_task_has_one(make_run, make_strategy, make_quality):
    rows = [
        make_strategy("baseline", quality=make_quality(0.9, micro_f1=make_quality(0.5).f1)),
        make_strategy("tfidf", quality=make_quality(0.2, micro_f1=make_quality(0.6).f1)),
    ]
    assert "F1 0.600 [0.580, 0.620] against 0.500" in verdict(make_run(*rows, task="present"))[0]


def test_micro_f1_decides_where_notes_carry_several_symptoms(make_run, make_strategy, make_quality):
    quality = make_quality(0.6, micro_f1=Estimate(value=0.7, low=0.6, high=0.8))
    row = make_strategy("safe", quality=quality, difference=(-0.05, -0.07, -0.03), smaller=True)
    micro = Estimate(value=0.0, low=-0.0001, high=0.001)
    versus = row.versus_baseline.model_copy(update={"micro_f1_difference": micro})
    run = make_run(
        make_strategy("baseline", quality=quality), row.model_copy(update={"versus_baseline": versus})
    )
    assert verdict(run)[-1].endswith(
        "it keeps micro F1 (0.000 [−0.001, +0.001]; a loss of 0.010 is ruled out, corrected p <0.001)."
    )


def test_what_one_seed_gains_is_no_gain_where_the_corrected_p_value_is_large(make_run, make_strategy):
    # Twelve rows whose interval excludes 0 by a hair: with twelve tests that is what chance gives.
    rows = [make_strategy(f"row-{n}", difference=(0.02, 0.001, 0.039), smaller=True) for n in range(12)]
    lines = verdict(make_run(make_strategy("baseline"), *rows))
    assert len(lines) == 12
    assert not any("gains" in line or "loses" in line for line in lines)
    alone = verdict(make_run(make_strategy("baseline"), rows[0]))
    assert alone == [
        "row-0 is smaller (1.00× the bytes) but not faster (1.00× the latency); it gains macro F1 "
        "(+0.020 [+0.001, +0.039]; corrected p 0.039)."
    ]


def test_a_loss_below_the_margin_is_said_to_be_one_and_is_worth_taking(make_run, make_strategy):
    row = make_strategy("small", difference=(-0.003, -0.005, -0.001), smaller=True)
    run = make_run(make_strategy("baseline"), row)
    assert "it loses macro F1, less than the margin of 0.010 (−0.003" in verdict(run)[0]
    assert advise(run).taken.name == "small"


def test_the_margin_of_the_study_decides(make_run, make_strategy):
    rows = [make_strategy("baseline"), make_strategy("small", difference=(0.0, -0.012, 0.012), smaller=True)]
    assert "too few notes to tell" in verdict(make_run(*rows))[0]
    assert "it keeps macro F1" in verdict(make_run(*rows, config={"margin": 0.02}))[0]


def test_no_difference_in_34_notes_is_too_few_notes_to_tell(make_run, make_strategy):
    rows = [make_strategy("baseline"), make_strategy("small", difference=(0.0, 0.0, 0.0), smaller=True)]
    run = make_run(*rows)
    assert "it keeps macro F1" in verdict(run)[0]
    few = run.model_copy(update={"data": run.data.model_copy(update={"test": 34})})
    assert "too few notes to tell whether it keeps macro F1 within 0.010" in verdict(few)[0]
    assert advise(few).headline == "Too few test notes to tell whether small keeps the baseline’s F1."


def topics(quality, count):
    one = quality(0.5).per_symptom[0]
    return [one.model_copy(update={"symptom": f"topic {n}", "support": 20}) for n in range(count)]


def test_a_baseline_at_chance_makes_every_comparison_meaningless(make_run, make_strategy, make_quality):
    # Five topics of like frequency: guessing gives macro F1 0.2.
    quality = make_quality(0.21, per_symptom=topics(make_quality, 5))
    row = make_strategy("small", difference=(0.1, 0.05, 0.15), smaller=True)
    run = make_run(make_strategy("baseline", quality=quality), row)
    lines = verdict(run)
    assert lines[0] == (
        "The baseline is at chance: a model that ignores the note has macro F1 0.200, so comparisons with "
        "it mean nothing; train longer, or on more notes."
    )
    assert advise(run).headline == (
        "The baseline is no better than guessing, so comparisons with it mean nothing."
    )
    assert lines[1].endswith(
        "its macro F1 says nothing beside a baseline at chance (+0.100 [+0.050, +0.150])."
    )
    better = make_quality(0.30, per_symptom=topics(make_quality, 5))
    assert "gains" in verdict(make_run(make_strategy("baseline", quality=better), row))[0]


def test_where_spans_are_a_model_that_ignores_the_note_cannot_know(make_run, make_strategy, make_quality):
    # More spans than notes: naming the same symptoms for every note would have an F1 above 1.
    many = [one.model_copy(update={"support": 500}) for one in topics(make_quality, 3)]
    row = make_strategy("small", difference=(0.1, 0.05, 0.15), smaller=True)

    def said(f1):
        quality = make_quality(f1, per_symptom=many)
        run = make_run(make_strategy("baseline", quality=quality), row).model_copy(
            update={"task": "mentions"}
        )
        return verdict(run)[0]

    assert "gains" in said(0.1)
    assert said(0.0) == (
        "The baseline finds nothing, so comparisons with it mean nothing; train longer, or on more notes."
    )


def test_a_gain_stands_beside_what_longer_training_gives(make_run, make_strategy):
    run = make_run(
        make_strategy("baseline", 0.80),
        make_strategy("distillation", 0.85, difference=(0.05, 0.03, 0.07), smaller=True, faster=True),
        make_strategy("baseline-longer", 0.86, difference=(0.06, 0.04, 0.08)),
    )
    lines = verdict(run)
    assert lines[0].startswith(
        "baseline-longer is the baseline trained for as many steps as the longest recipe; it gains macro F1 ("
    )
    assert lines[1].endswith(
        "where baseline-longer has F1 0.860 [0.840, 0.880] and distillation 0.850 [0.830, 0.870]."
    )
    assert advise(run).taken.name == "distillation"


def test_rows_that_differ_in_nothing_share_one_sentence(make_run, make_strategy):
    rows = [make_strategy(name, difference=(0.0, -0.02, 0.02)) for name in ("first", "second", "third")]
    small = make_strategy("small", difference=(0.0, -0.001, 0.001), smaller=True, size=20_000_000)
    assert verdict(make_run(make_strategy("baseline"), *rows, small)) == [
        "small is smaller (0.25× the bytes) but not faster (1.00× the latency); it keeps macro F1 "
        "(0.000 [−0.001, +0.001]; a loss of 0.010 is ruled out, corrected p <0.001).",
        "first, second and third are neither smaller nor faster, and no difference in macro F1 is shown.",
    ]


def compressed(make_strategy, difference, **changes):
    costs = {"size": 8_000_000, "p50": 2.5, "smaller": True, "faster": True}
    return make_strategy("small", difference=difference, **(costs | changes))


@pytest.mark.parametrize(
    ("difference", "changes", "headline", "is_taken"),
    [
        ((0.0, -0.001, 0.001), {},
         "small is 10.0 times smaller and 4.0 times faster, and keeps the baseline’s F1.", True),
        ((0.02, 0.01, 0.03), {"size": 2_000_000},
         "small is 40 times smaller and 4.0 times faster, and improves the F1.", True),
        ((-0.003, -0.005, -0.001), {"size": 64_000_000, "p50": 10.0, "faster": False},
         "small is 20 % smaller, and loses less than 0.01 F1.", True),
        ((-0.05, -0.06, -0.04), {},
         "small is 10.0 times smaller and 4.0 times faster, but loses 0.050 F1.", False),
        ((-0.01, -0.03, 0.01), {},
         "Too few test notes to tell whether small keeps the baseline’s F1.", False),
        ((None, None, None), {}, "No F1 can be compared here: keep the baseline.", False),
        ((0.0, -0.001, 0.001), {"smaller": False, "faster": False},
         "No compressed model is smaller or faster: keep the baseline.", False),
    ],
)  # fmt: skip
def test_the_headline_is_one_plain_sentence(difference, changes, headline, is_taken, make_run, make_strategy):
    found = advise(make_run(make_strategy("baseline"), compressed(make_strategy, difference, **changes)))
    assert found.headline == headline
    assert len(headline.split()) <= 15
    assert (found.taken is not None) == is_taken


@pytest.mark.parametrize(
    ("name", "f1", "difference", "headline"),
    [
        ("tfidf", 0.95, (0.05, 0.03, 0.07),
         "TF-IDF with logistic regression beats every trained model: F1 0.950 against 0.900."),
        ("tfidf", 0.9, (0.0, -0.01, 0.01),
         "TF-IDF with logistic regression matches the best trained model: F1 0.900 against 0.900."),
        ("rule-assertion", 0.905, (0.005, -0.01, 0.02),
         "The lexicon rule with assertion scores above every trained model: F1 0.905 against 0.900."),
    ],
)  # fmt: skip
def test_a_reference_that_is_as_good_is_the_headline(name, f1, difference, headline, make_run, make_strategy):
    row = compressed(make_strategy, (0.0, -0.001, 0.001))
    run = make_run(make_strategy("baseline", 0.9), row, make_strategy(name, f1, difference=difference))
    found = advise(run)
    assert found.headline == headline
    assert len(headline.split()) <= 15
    assert found.shown.name == name
    assert found.further[0].startswith("Among the trained models: small is 10.0 times smaller")


def test_a_run_without_baseline_or_recipe_says_so(make_run, make_strategy):
    assert advise(make_run(make_strategy("lowrank"))).headline == (
        "This run has no baseline, so the price of compression is unknown."
    )
    alone = advise(make_run(make_strategy("baseline")))
    assert alone.headline == "Nothing was compressed here: there is no recipe to choose."
    assert alone.shown.name == "baseline"


def test_a_cheaper_row_with_a_price_is_named_below_the_headline(make_run, make_strategy):
    tiny = make_strategy(
        "tiny", difference=(-0.05, -0.06, -0.04), size=800_000, p50=1.0, smaller=True, faster=True
    )
    found = advise(make_run(make_strategy("baseline"), compressed(make_strategy, (0.0, -0.001, 0.001)), tiny))
    assert found.taken.name == "small"
    assert found.further == (
        "tiny is cheaper still, 0.8 MB and 1.00 ms per note, but it loses 0.050 of the F1.",
        "small was chosen among 2 compressed rows by these very test notes: confirm it on notes of your own.",
    )
