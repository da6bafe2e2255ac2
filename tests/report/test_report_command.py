from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from sympress.cli.report import report
from sympress.errors import InputError
from sympress.files import write_json


@pytest.fixture
def run(results, tmp_path):
    write_json(tmp_path / "results.json", results.model_dump(mode="json"))
    return tmp_path


@pytest.fixture
def app():
    app = typer.Typer()
    app.command()(report)
    return app


def test_report_rebuilds_every_file_and_says_where(run, app):
    done = CliRunner().invoke(app, [str(run)])
    assert done.exit_code == 0
    assert "distillation" in done.output
    assert "gains nothing in cost" in done.output.replace("\n", " ")
    assert f"Wrote 2 CSV files and {run / 'report.html'}" in done.output
    assert {path.name for path in run.iterdir()} == {
        "results.json",
        "report.html",
        "metrics_baseline.csv",
        "per_symptom_baseline.csv",
    }


def test_a_folder_without_results_is_a_mistake_of_the_call(tmp_path, app):
    done = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(done.exception, InputError)
    assert "no results here" in str(done.exception)
