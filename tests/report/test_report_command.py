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


def test_results_are_tracked_only_when_asked(run, app, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "sympress.studies.run.track_results", lambda _, folder, uri: asked.append((folder, uri)) or ["id"]
    )
    assert CliRunner().invoke(app, [str(run)]).exit_code == 0
    assert asked == []
    done = CliRunner().invoke(app, [str(run), "--track", "http://tracker:5000"])
    assert "tracked 1 MLflow runs" in done.output
    assert asked == [(run, "http://tracker:5000")]


def test_figures_and_tables_for_a_paper_are_written_when_asked(run, app):
    assert CliRunner().invoke(app, [str(run), "--figures", "--tables"]).exit_code == 0
    assert {"pareto.svg", "pareto.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert (run / "table.tex").is_file()
    assert (run / "table.md").is_file()
