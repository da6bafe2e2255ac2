"""Peak memory of a deployed row, measured in a process of its own: `python -m sympress.deploy.probe`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sympress.errors import SympressError


def peak_memory_bytes(folder: Path, texts: Sequence[str]) -> int:
    """Peak resident memory of a fresh process that loads `folder` and answers `texts` one at a time.

    The texts travel through a pipe and are not written anywhere.

    Raises:
        SympressError: the process failed.
    """
    command = [sys.executable, "-m", "sympress.deploy.probe", str(folder)]
    given = json.dumps(list(texts))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603  our own module
    if done.returncode != 0:
        raise SympressError(f"{folder}: the process that measures its memory failed ({done.returncode})")
    return int(done.stdout)


def _main(folder: Path) -> int:
    texts = json.load(sys.stdin)
    if (folder / "extractor.json").is_file():
        from sympress.deploy.runtime import Runtime

        predict = Runtime.load(folder).predict
    else:
        from sympress.measure.reference import TfidfClassifier
        from sympress.measure.rule import RuleClassifier

        kind = RuleClassifier if (folder / "rule.json").is_file() else TfidfClassifier
        predict = kind.load(folder).predict_proba
    for text in texts:
        predict([text])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


if __name__ == "__main__":
    sys.stdout.write(str(_main(Path(sys.argv[1]))))
