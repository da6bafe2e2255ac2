"""Peak memory of a deployed row, measured in a process of its own: `python -m sympress.deploy.probe`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sympress.errors import MissingExtraError, SympressError

if TYPE_CHECKING:
    from sympress.measure.reference import ReferenceModel


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
    answer = _load_answer(folder)
    for text in texts:
        answer(text)
    return own_peak_bytes()


def _load_answer(folder: Path) -> Callable[[str], object]:
    """What answers one text: the artifact as it is deployed, or the reference model in `folder`."""
    if (folder / "extractor.json").is_file():
        from sympress.deploy.extractor import Extractor

        return Extractor.load(folder).answer
    reference = _load_reference(folder)
    return lambda text: reference.predict_proba([text])


def own_peak_bytes() -> int:
    """Peak resident memory of this process since it began to run its program.

    On Linux `ru_maxrss` is no less than what the process that started this one held, so there it is read from
    `VmHWM`.

    Raises:
        MissingExtraError: on Windows, where psutil is not installed.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    if sys.platform == "win32":
        try:
            import psutil
        except ImportError as error:
            raise MissingExtraError("train", "psutil") from error
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def _load_reference(folder: Path) -> ReferenceModel:
    """The reference model whose file lies in `folder`."""
    if (folder / "asserted.json").is_file():
        from sympress.measure.asserted import AssertedRule

        return AssertedRule.load(folder)
    from sympress.measure.reference import TfidfClassifier
    from sympress.measure.rule import RuleClassifier

    return RuleClassifier.load(folder) if (folder / "rule.json").is_file() else TfidfClassifier.load(folder)


if __name__ == "__main__":
    sys.stdout.write(str(_main(Path(sys.argv[1]))))
