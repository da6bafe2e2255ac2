"""medSpaCy, the peer: small scripts that run in an environment of its own and answer in JSON.

medSpaCy is no dependency of sympress. Its default pipeline, `medspacy.load()`, is used as it comes.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sympress.errors import InputError


def ask_peer(python: Path, script: str, question: Any, peer: str = "medspacy") -> Any:
    """Return what `script` answers to `question` (both JSON) in the environment of `python`.

    Args:
        python: of that environment.
        script: its arguments are the file of the question and that of the answer.
        question: what it is asked.
        peer: what it needs there.

    Raises:
        InputError: that environment cannot run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.json", Path(folder) / "answer.json"
        given.write_text(json.dumps(question), "utf-8")
        command = [str(python), "-c", script, str(given), str(answer)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  the user's own Python
        except OSError as error:
            raise _refusal(python, peer, type(error).__name__) from error
        if done.returncode or not answer.is_file():
            raise _refusal(python, peer, _reason(done.stderr.decode("utf-8", "replace")))
        return json.loads(answer.read_text("utf-8"))


def _refusal(python: Path, peer: str, reason: str) -> InputError:
    return InputError(f"{python}: cannot run {peer} ({reason}); install it there, or leave --peer-python out")


def _reason(errors: str) -> str:
    """The kind of the error that ended a script, and which module is missing; never what it read."""
    last = (errors.strip().splitlines() or ["no error"])[-1]
    return last if last.startswith(("ModuleNotFoundError: ", "ImportError: ")) else last.partition(":")[0]


#: Arguments: a file `[[text, [start, end] or null], ...]` and the file to write `{version, contexts}` to.
#: The condition becomes the entity by a target rule of its own words, as medSpaCy's users do.
SPANS_SCRIPT = """
import json, re, sys
import medspacy
from medspacy.target_matcher import TargetMatcher, TargetRule
NAMES = {"is_negated": "absent", "is_historical": "historical", "is_uncertain": "possible",
         "is_hypothetical": "hypothetical", "is_family": "family"}
nlp = medspacy.load()
contexts = []
for text, span in json.load(open(sys.argv[1], encoding="utf-8")):
    found = set()
    if span:
        nlp.remove_pipe("medspacy_target_matcher")
        matcher = nlp.add_pipe("medspacy_target_matcher", before="medspacy_context")
        matcher.add([TargetRule(text[span[0]:span[1]].strip(), "CONDITION")])
        entities = [e for e in nlp(text).ents if e.start_char < span[1] and span[0] < e.end_char]
        for entity in entities[:1]:
            found = {name for flag, name in NAMES.items() if getattr(entity._, flag)}
        if not entities:
            found = {"not found"}
    contexts.append(sorted(found))
json.dump({"version": medspacy.__version__, "contexts": contexts}, open(sys.argv[2], "w"))
"""

#: Arguments: a file `{"forms": [...], "texts": [...]}` and the file to write its answer to.
SPEED_SCRIPT = """
import json, sys, time
import medspacy
from medspacy.target_matcher import TargetRule
given = json.load(open(sys.argv[1], encoding="utf-8"))
nlp = medspacy.load()
nlp.get_pipe("medspacy_target_matcher").add([TargetRule(form, "SYMPTOM") for form in given["forms"]])
nlp(given["texts"][0])
started, used, mentions = time.perf_counter(), time.process_time(), 0
for doc in nlp.pipe(given["texts"]):
    mentions += len(doc.ents)
json.dump({"version": medspacy.__version__, "seconds": time.perf_counter() - started,
           "cpu_seconds": time.process_time() - used, "mentions": mentions}, open(sys.argv[2], "w"))
"""
