from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from sympress.report.paper import METRICS_HEADER, PER_SYMPTOM_HEADER, file_stem, per_symptom_csv, write_csvs
from sympress.results import EpochQuality, Estimate, SymptomQuality


def symptom(name):
    one = Estimate(value=0.5)
    return SymptomQuality(
        symptom=name, support=1, precision=one, recall=one, f1=one, auroc=Estimate(value=None)
    )


def test_the_files_hold_one_line_an_epoch_and_symptom(results, tmp_path):
    # Of validation notes under a header of our own.
    write_csvs(results, tmp_path)
    assert (tmp_path / "metrics_baseline.csv").read_text() == (
        "Epoch,Accuracy,Precision,Recall,F1,AUROC,Part\n"
        "1,0.6,0.6,0.6,0.6,0.6,validation\n2,0.7,0.7,0.7,0.7,0.7,validation\n"
    )
    assert (tmp_path / "per_symptom_baseline.csv").read_text().splitlines()[:2] == [
        "Epoch,Symptom,Precision,Recall,F1,AUROC,Part", "1,fever,0.9,0.8,0.6,,validation"
    ]  # fmt: skip


def test_test_notes_of_every_epoch_stand_under_the_authors_header(results, tmp_path):
    data = results.data.model_copy(update={"validation": 0})
    results = results.model_copy(update={"data": data})
    written = write_csvs(results, tmp_path)
    assert sorted(path.name for path in written) == ["metrics_baseline.csv", "per_symptom_baseline.csv"]
    assert (tmp_path / "metrics_baseline.csv").read_text() == (
        "Epoch,Accuracy,Precision,Recall,F1,AUROC\n1,0.6,0.6,0.6,0.6,0.6\n2,0.7,0.7,0.7,0.7,0.7\n"
    )
    assert (tmp_path / "per_symptom_baseline.csv").read_text() == (
        "Epoch,Symptom,Precision,Recall,F1,AUROC\n1,fever,0.9,0.8,0.6,\n2,fever,0.9,0.8,0.7,\n"
    )


def test_the_first_seed_has_the_plain_name(make_run, make_strategy, make_quality, tmp_path):
    epochs = [EpochQuality(epoch=1, quality=make_quality(0.5))]
    rows = [make_strategy("lowrank", seed=seed, epochs=epochs) for seed in (8, 7)]
    names = {path.name for path in write_csvs(make_run(*rows), tmp_path)}
    assert names == {
        "metrics_lowrank.csv",
        "per_symptom_lowrank.csv",
        "metrics_lowrank_seed8.csv",
        "per_symptom_lowrank_seed8.csv",
    }


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        (" @SUM(A1)", "' @SUM(A1)"),
        ("\t=1", "\N{REPLACEMENT CHARACTER}=1"),
        ("a\r\n=1", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}=1"),
        ('a,"b"', 'a,"b"'),
    ],
)
def test_a_symptom_that_a_spreadsheet_would_run_is_text(name, cell, make_strategy, make_quality):
    quality = make_quality(0.5, per_symptom=[symptom(name)])
    text = per_symptom_csv(make_strategy("x", epochs=[EpochQuality(epoch=1, quality=quality)]))
    assert list(csv.reader(text.splitlines()))[1] == ["1", cell, "0.5", "0.5", "0.5", ""]


def test_a_strategy_name_cannot_leave_the_folder():
    assert file_stem("../../etc/passwd") == "etc-passwd"
    assert file_stem("..") == "strategy"
    assert file_stem("pruning-masked") == "pruning-masked"


def test_the_headers_are_those_of_the_published_files():
    data = Path(os.environ.get("SYMPRESS_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    published = data.parent / "reference" / "published_results"
    if not published.is_dir():
        pytest.skip("the authors' published files are not here (set SYMPRESS_DATA)")
    headers = {
        tuple(path.read_text(encoding="utf-8").splitlines()[0].split(",")) for path in published.glob("*.csv")
    }
    assert headers == {METRICS_HEADER, PER_SYMPTOM_HEADER}
