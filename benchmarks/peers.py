"""Notes a second of the bundled artifact beside its peers: `python -m benchmarks.peers NOTES -o FILE`.

Whole notes, one core each, all in turn: the bundled artifact, its rules alone, a Hugging Face pipeline for
token classification over an encoder with a head of the tagger's tags (at random: speed does not depend on
what it learned), and medspaCy's default pipeline with a target rule for every form of the lexicon. Seconds
are of the processor: on a machine that is shared, only they say what the work costs. Each gets all notes in
one call, and takes of them together what it likes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.peer_medspacy import SPEED_SCRIPT, ask_peer
from sympress.errors import bundled_encoder_folder
from sympress.files import write_json
from sympress.labels.lexicon import load_lexicon
from sympress.notes.read import read_notes
from sympress.provenance import environment
from sympress.runtime.extractor import Extractor

BOX, RULES, PIPELINE, MEDSPACY = "box", "rules", "transformers-pipeline", "medspacy"
#: What answers texts and says how many processor seconds that took.
Contender = Callable[[Sequence[str]], float]
#: Word pieces of a window of the pipeline, and how many of them two windows share.
_WINDOW, _SHARED = 256, 32


def measure(
    contenders: Mapping[str, Contender], texts: Sequence[str], rounds: int, reference: str = BOX
) -> dict[str, Any]:
    """Notes a processor second of each, in turn, and its seconds as a multiple of the reference's.

    Args:
        contenders: by name; each has answered something before.
        texts: whole notes.
        rounds: how often each answers all of them; figures are medians.
        reference: the name of the one that others are compared with.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for at in range(len(names)):
            name = names[(at + number) % len(names)]  # nobody is always first
            taken[name].append(contenders[name](texts))
    return {
        name: {
            "notes_per_cpu_second": len(texts) / median(seconds),
            "times_slower": median(own / ours for own, ours in zip(seconds, taken[reference], strict=True)),
        }
        for name, seconds in taken.items()
    }


def extraction(name: str) -> Contender:
    """A bundled artifact."""
    extractor = Extractor.load(name)
    return _timed(lambda texts: list(extractor.answers(texts)))


def token_pipeline(encoder: str, tags: Sequence[str]) -> Contender:
    """What a user writes: transformers' own pipeline, windows of whole notes, int64 and fp32.

    Args:
        encoder: folder that transformers loads.
        tags: of its head.
    """
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    torch.manual_seed(0)
    names = dict(enumerate(tags))
    find = pipeline(
        "token-classification",
        model=AutoModelForTokenClassification.from_pretrained(
            encoder, id2label=names, label2id={tag: at for at, tag in names.items()}
        ),
        tokenizer=AutoTokenizer.from_pretrained(encoder, model_max_length=_WINDOW),
        aggregation_strategy="simple",
        stride=_SHARED,
        device="cpu",
    )
    return _timed(lambda texts: find(list(texts)))


def medspacy(python: Path, lexicon: str) -> Contender:
    """Medspacy in the environment of `python`, which times itself."""
    forms = [form for symptom in load_lexicon(lexicon).symptoms for form in symptom.forms]

    def run(texts: Sequence[str]) -> float:
        return float(ask_peer(python, SPEED_SCRIPT, {"forms": forms, "texts": list(texts)})["cpu_seconds"])

    return run


def _timed(answer: Callable[[Sequence[str]], Any]) -> Contender:
    answer(["c/o fever and chills, denies cough"])  # whatever is made once is made now

    def run(texts: Sequence[str]) -> float:
        used = time.process_time()
        answer(texts)
        return time.process_time() - used

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("notes", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--most", type=int, default=100, help="how many notes, evenly spread")
    parser.add_argument("--rounds", type=int, default=3, help="how often each answers them")
    parser.add_argument("--encoder", help="folder of the pipeline's encoder; the packaged one otherwise")
    parser.add_argument("--peer-python", type=Path, help="Python of an environment with medspacy")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    every = read_notes(chosen.notes).frame["text"].to_list()
    texts = every[:: max(1, len(every) // chosen.most)][: chosen.most]
    tags = ["O", "B-present", "I-present", "B-absent", "I-absent", "B-possible", "I-possible"]
    contenders = {BOX: extraction("box"), RULES: extraction("rules")}
    contenders[PIPELINE] = token_pipeline(chosen.encoder or str(bundled_encoder_folder()), tags)
    if chosen.peer_python is not None:
        contenders[MEDSPACY] = medspacy(chosen.peer_python, "clinical")
    result = {
        "format": 1,
        "notes": {"name": chosen.notes.name, "notes": len(texts), "characters": sum(map(len, texts))},
        "rounds": chosen.rounds,
        "rows": measure(contenders, texts, chosen.rounds),
        "environment": environment(),
    }
    write_json(chosen.output, result)
    print(chosen.output)  # noqa: T201


if __name__ == "__main__":
    main()
