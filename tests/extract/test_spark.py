"""The example for Spark in docs/extract.md on a real local Spark; `make spark` installs what it needs."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

sql = pytest.importorskip("pyspark.sql", reason="needs PySpark: make spark")
ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore")  # Spark's own
def test_spark_answers_a_table_of_notes_as_one_machine_does(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # else its workers run the first python3 of PATH
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    text = (ROOT / "docs" / "how-to" / "ray-and-spark.md").read_text(encoding="utf-8")
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "mapInPandas" in one]
    code = code.replace("/dbfs/ARTIFACT", str(tiny_artifact)).replace(
        '.parquet("symptoms")', f".parquet({str(tmp_path / 'symptoms')!r})"
    )
    from sympress import Extractor

    notes = [(str(at), text) for at, text in enumerate(["fever and cough", "no pain", "", "chills"] * 25)]
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.warehouse.dir", str(tmp_path / "warehouse"))
        .getOrCreate()
    )
    try:
        frame = session.createDataFrame(notes, "note_id string, text string").repartition(3)
        exec(compile(code, "extract.md", "exec"), {"notes": frame})
        rows = session.read.parquet(str(tmp_path / "symptoms")).collect()
    finally:
        session.stop()
    extractor = Extractor.load(tiny_artifact)
    wanted = {name: [one.symptom for one in extractor(note).symptoms] for name, note in notes}
    assert {row.note_id: list(row.symptoms) for row in rows} == wanted
