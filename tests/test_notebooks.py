"""The notebooks hold no output, and run from the first cell to the last."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output(path: Path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []


#: What the kernel runs before the first cell: a tiny encoder stands in for the packaged one, and nothing is
#: traced twice.
STARTUP = """
import sys
from pathlib import Path
import torch
from sympress.models import encoder
sys.path.append({tests!r})
from traces import shared_in
torch.onnx.export = shared_in(Path({traced!r}), torch.onnx.export)
encoder._BUNDLED_SHA256 = {{}}
encoder.bundled_encoder_folder = lambda: Path({folder!r})
"""


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # of what runs notebooks, not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roomy_encoder_folder: Path, traced: Path
):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: the extra `dev` brings it")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: the extra `dev` brings it")
    nbformat = pytest.importorskip("nbformat")
    if path.stem == "compress":
        startup = tmp_path / "ipythondir" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        script = STARTUP.format(
            tests=str(Path(__file__).parent), traced=str(traced), folder=str(roomy_encoder_folder)
        )
        (startup / "tiny_encoder.py").write_text(script, encoding="utf-8")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    given = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT / "src"), given))))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", timeout=500, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    printed = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in printed if output["output_type"] == "error"]
    assert [output for output in printed if output["output_type"] in ("execute_result", "stream")]
