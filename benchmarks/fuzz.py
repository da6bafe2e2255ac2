"""Altered inputs of seven kinds: nothing but an answer or one clear line may come of them: `make fuzz`.

Small valid inputs (CSV, JSON lines, Parquet, an artifact, a user's words, a request, a recipe) are altered
by a seeded random generator: bits are flipped, parts are cut, repeated or swapped, numbers become huge,
values change their type, structures nest, odd characters and NULs come in. Each is read as `sympress
extract` and the service read it, in a worker process whose address space, memory and time are limited. A
finding is whatever is neither an answer nor an `InputError` of few lines nor a refusal of the service below
500: a traceback, a process that died or took too long, memory above the limit. `--keep` writes the inputs
of findings.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import hashlib
import io
import json
import multiprocessing
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl

from sympress.compression.recipe.language import Recipe, parse_recipe, read_recipe
from sympress.errors import InputError
from sympress.evaluation.cost import own_peak_bytes
from sympress.extract.shapes import COLUMNS, Header
from sympress.extract.sources import ItemCounts, find_notes, stream_items
from sympress.extract.workers import Order, answer_chunk, cut_chunks
from sympress.files import write_json
from sympress.labels.own_words import read_own_words
from sympress.runtime.affirm import Fusion
from sympress.runtime.artifact import (
    BOX_FOLDER,
    encode_model,
    read_extractor,
    write_checksums,
    write_extractor,
)
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.extractor import Extractor
from sympress.runtime.linker import with_words, write_words
from sympress.serve.forms import ManyNotes, parse_request
from sympress.serve.render import Refusal, render

#: Limits of a worker, and of one input.
MEMORY_BYTES = 10**9
SPACE_BYTES = 4 * 2**30
SECONDS = 60  # on a machine that has other work too
_MESSAGE_LINES, _MESSAGE_CHARACTERS = 25, 5_000

ROWS = [
    {
        "note_id": f"n{at}",
        "patient_id": f"p{at % 3}",
        "encounter_id": "e1",
        "time": f"2024-0{1 + at % 9}-03T04:05:06",
        "category": "Nursing",
        "sex": "F",
        "age": 40 + at,
        "text": text,
    }
    for at, text in enumerate(
        [
            "c/o fever and chills, denies cough",
            "HPI: no chest pain; mother has migraine.\nPLAN: if nausea, call",
            "T 38.5 C, rash on arms (pruritic)",
            "<p>pain in the back</p>",
            "Übelkeit? \U0001f600 n/v x 3 days",
        ]
    )
]
LEXICON = """
extends = "none"
[words]
part = ["arm", "leg{,s}"]
[[symptom]]
id = "pain"
name = "pain"
forms = ["pain", "ache{,s}", "sore {part}"]
codes = ["HP:0012531"]
ambiguous = [{ form = "PN", case = "upper" }]
[[symptom]]
id = "fever"
name = "fever"
forms = ["fever", "pyrexia"]
patterns = ["hot {site}"]
sites = ["head"]
denials = ["afebrile"]
[combined]
"f/p" = ["fever", "pain"]
"""
CUES = """
extends = "none"
[[cue]]
assertion = "absent"
max_words = 5
phrases = ["free of {any,all}", "no"]
"""
SECTIONS = """
[[section]]
kind = "history"
assertion = "historical"
headings = ["Past history{,:}"]
"""
REQUESTS = [
    {"text": "fever, no cough", "model": "a"},
    {"notes": [{"id": "1", "text": "fever"}, {"id": "2", "text": "denies \U0001f600 pain"}], "model": None},
]

RECIPES = (
    "adapt(2, layers=3) > distill(layers=2, hidden=1) > quantize(int8)",
    "vocab(keep=0.4) > prune(macs=0.8) > quantize(int8, clusters=16) > store(entropy) > fuse",
    "pretrained > lowrank(rank=4, method=svd, where=classifier) > fine-tune(rate=0.001)",
    "mask(0.3) > fine-tune(simulate=eager)",
)

#: Bytes and texts that have broken readers of files.
_ODD_BYTES = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\x1a",
    b"\r",
    b"\n\n",
    b'"',
    b",",
    b"\x1f\x8b",
)
_ODD_TEXTS = (
    "", "\0", "\ud800", "\U0010ffff", "\u202e", "e\u0301" * 50, "\u0130", "=1+1", "{", "}}", "[**",
    "{a,b}" * 30, "{part}" * 20, "{site}", "../../x", "a" * 70_000, "fever " * 3_000, "NaN", "-0", "1e999",
    "9" * 5_000, "[" * 2_000,
    "9999-12-31T23:59:59-05:00", "0000-00-00", "<" * 500, "{\\rtf1" * 200, "MSH|^~\\&|", "{{}}", "\\", "null",
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**64, -(2**70), 10**400, 0.5, 1e308, float("nan"), float("inf"), [], {},
    [[]],
    [None], {"a": {"b": []}}, [1] * 2_000, {"$oid": "x"}, "", "x",
)  # fmt: skip


def alter_bytes(raw: bytes, chance: random.Random) -> bytes:
    """`raw` with a few faults of a disk or an editor."""
    made = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at, size = chance.randrange(len(made) + 1), chance.choice((1, 2, 4, 16, 200))
        match chance.randrange(8):
            case 0 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                del made[at:]
            case 2:
                del made[at : at + size]
            case 3:
                made[at:at] = made[at : at + size] * chance.choice((1, 2, 50))
            case 4:
                made[at:at] = chance.choice(_ODD_BYTES) * chance.choice((1, 1, 3, 500))
            case 5:
                made[at : at + size] = chance.randbytes(size)
            case 6:
                made[at : at + size] = b"\xff" * size
            case _:
                made[at : at + size] = b"9" * chance.choice((1, 20, 400))
    return bytes(made)


def alter_value(value: Any, chance: random.Random) -> Any:
    """A JSON value of which one part is another one: of another type, larger, nested, named otherwise."""
    if isinstance(value, dict) and value and chance.random() < 0.95:
        return _alter_object(value, chance)
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        return chance.choice(
            (
                value[:at],
                value + value[at:] * 3,
                *[[*value[:at], alter_value(value[at], chance), *value[at + 1 :]]] * 2,
            )
        )
    if isinstance(value, str) and chance.random() < 0.5:
        at = chance.randrange(len(value) + 1)
        return value[:at] + chance.choice(_ODD_TEXTS) * chance.choice((1, 1, 2)) + value[at:]
    if isinstance(value, (int, float)) and chance.random() < 0.5:
        return chance.choice((-1, 0, 1, 2, 0.5, 1e-9, 2**31, 2**40)) * value
    return chance.choice((chance.choice(_ODD_VALUES), chance.choice(_ODD_TEXTS), _nested(value, chance)))


def _alter_object(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    key, odd = chance.choice(list(value)), chance.choice(_ODD_TEXTS)
    match chance.randrange(6):
        case 0:
            return {name: one for name, one in value.items() if name != key}
        case 1:
            return {**value, odd[:9_000]: value[key]}
        case 2:
            return {(odd if name == key else name): one for name, one in value.items()}
        case _:
            return {**value, key: alter_value(value[key], chance)}


def _nested(value: Any, chance: random.Random) -> Any:
    for _ in range(chance.choice((1, 3, 200))):
        value = [value] if chance.random() < 0.5 else {"a": value}
    return value


def json_bytes(value: Any, chance: random.Random) -> bytes:
    """`value` as JSON; now and then nested deeper than can be read, or altered as bytes too."""
    raw = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.02:
        raw = chance.choice((b"[", b'{"a":')) * 100_000
    return alter_bytes(raw, chance) if chance.random() < 0.2 else raw


def alter_rows(chance: random.Random) -> list[Any]:
    """The rows, some of them altered."""
    return [alter_value(row, chance) if chance.random() < 0.4 else row for row in ROWS]


def make_csv(folder: Path, chance: random.Random) -> list[Path]:
    """A CSV file."""
    columns = list(ROWS[0])
    frame = pl.DataFrame([{name: str(row[name]) for name in columns} for row in ROWS])
    for _ in range(chance.choice((0, 1, 3))):
        name, odd = chance.choice(columns), chance.choice(_ODD_TEXTS).encode("utf-8", "replace").decode()
        frame = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(odd)).otherwise(name).alias(name)
        )
    raw = frame.write_csv(separator=chance.choice(",,,\t;|")).encode()
    return [_write(folder / "in.csv", alter_bytes(raw, chance), chance)]


def make_jsonl(folder: Path, chance: random.Random) -> list[Path]:
    """A file of JSON lines."""
    raw = b"\n".join(json_bytes(row, chance) for row in alter_rows(chance)) + b"\n"
    return [_write(folder / "in.jsonl", raw if chance.random() < 0.6 else alter_bytes(raw, chance), chance)]


def _write(path: Path, raw: bytes, chance: random.Random) -> Path:
    if chance.random() < 0.15:
        import gzip

        raw = gzip.compress(raw, 1)
        raw = alter_bytes(raw, chance) if chance.random() < 0.5 else raw
    path.write_bytes(raw)
    return path


def make_parquet(folder: Path, chance: random.Random) -> list[Path]:
    """A Parquet file: other types, or other bytes."""
    frame = pl.DataFrame(ROWS * chance.choice((1, 1, 40)))
    kinds: tuple[Any, ...] = (pl.Categorical(), pl.Binary(), None, pl.Int64(), pl.Float64())
    for name in chance.sample(frame.columns, chance.choice((0, 1, 2))):
        kind = chance.choice(kinds)
        other = (
            pl.concat_list(name) if kind is None else pl.col(name).cast(pl.String).cast(kind, strict=False)
        )
        frame = frame.with_columns(other.alias(name))
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression=chance.choice(("zstd", "snappy", "uncompressed")))
    raw = buffer.getvalue()
    raw = alter_bytes(raw, chance) if chance.random() < 0.5 else _alter_inside(raw, chance)
    (folder / "in.parquet").write_bytes(raw)
    return [folder / "in.parquet"]


def _alter_inside(raw: bytes, chance: random.Random) -> bytes:
    """Some bytes of the footer or of the pages are others; all stand where they stood."""
    size = int.from_bytes(raw[-8:-4], "little")
    first, last = (len(raw) - 8 - size, len(raw) - 8) if chance.random() < 0.6 else (4, len(raw) - 8 - size)
    made = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 5))):
        made[chance.randrange(first, last)] = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(made)


@cache
def _whole_artifact(*, coded: bool = False) -> Path:
    """The model in the box with a fusion, a small lexicon, cues and sections of its own; removed at the end.

    `coded`: its model file is entropy-coded.
    """
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = folder / "artifact"
    shutil.copytree(BOX_FOLDER, made)
    for name, text in (("lexicon", LEXICON), ("cues", CUES), ("sections", SECTIONS)):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    words = read_own_words(folder / "lexicon.toml", folder / "cues.toml", folder / "sections.toml")
    settings = with_words(read_extractor(made), words)
    fusion = Fusion.neutral([[name] for name in settings.symptoms])
    write_extractor(made, settings.model_copy(update={"fusion": fusion}))
    write_words(made, words)
    if coded:
        encode_model(made / "model.onnx")
    write_checksums(made)
    return made


def _list_again(listed: Path, altered: Path) -> None:
    """Let the checksums be those of the altered file, so that it is read; where they can still be read."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        held = json.loads(listed.read_bytes())
        held["sha256"][altered.name] = hashlib.sha256(altered.read_bytes()).hexdigest()
        listed.write_text(json.dumps(held))


def make_artifact(folder: Path, chance: random.Random) -> list[Path]:
    """An artifact one of whose files is altered, most of the time with checksums of what it is now."""
    made = folder / "artifact"
    shutil.copytree(_whole_artifact(coded=chance.random() < 0.5), made)
    names = sorted(path.name for path in made.iterdir() if path.suffix in {".json", ".toml", ".onnx", ".gz"})
    name = chance.choice([*names, "extractor.json", "tokenizer.json"])
    path = made / name
    raw = path.read_bytes()
    if name.endswith(".json") and chance.random() < 0.8:
        value = json.loads(raw)
        for _ in range(chance.choice((1, 1, 3))):
            value = alter_value(value, chance)
        raw = json_bytes(value, chance)
    else:
        raw = alter_bytes(raw, chance)
    path.unlink()
    path.write_bytes(raw)
    if chance.random() < 0.7:
        _list_again(made / "checksums.json", path)
    return [made]


def make_words(folder: Path, chance: random.Random) -> list[Path]:
    """A lexicon, cues or sections."""
    name, text = chance.choice(
        (("lexicon", LEXICON), ("lexicon", LEXICON), ("cues", CUES), ("sections", SECTIONS))
    )
    lines = text.strip().split("\n")
    for _ in range(chance.choice((1, 2, 4))):
        at = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 1:
                lines[at] = lines[at].replace(
                    "=",
                    f"= {chance.choice(('[' * 50, '{ a = ', '1e400', '9' * 5_000, 'nan', 'true', '[[1]]'))}",
                    1,
                )
            case 2:
                odd = chance.choice(_ODD_TEXTS).replace("\\", "").replace('"', "")
                lines[at] = lines[at].replace('["', f'["{odd}', 1)
            case 3:
                del lines[at]
            case _:
                lines[at] = lines[at].replace(",", chance.choice(("", ",,", ", 5,", "{a,b}")), 1)
        lines = lines or [""]
    raw = "\n".join(lines).encode("utf-8", "replace")
    path = folder / f"{name}.toml"
    path.write_bytes(alter_bytes(raw, chance) if chance.random() < 0.3 else raw)
    return [path]


def make_request(folder: Path, chance: random.Random) -> list[Path]:
    """The body of a request."""
    value: Any = chance.choice(REQUESTS)
    for _ in range(chance.choice((1, 1, 2))):
        value = alter_value(value, chance)
    (folder / "request.json").write_bytes(json_bytes(value, chance))
    return [folder / "request.json"]


def make_recipe(folder: Path, chance: random.Random) -> list[Path]:
    """A recipe as text or as a file, of which words, values or tables are others."""
    if chance.random() < 0.5:
        words = re.findall(r"[\w.+-]+|[^\w.+-]", chance.choice(RECIPES))
        for _ in range(chance.choice((1, 1, 2, 4))):
            at, odd = chance.randrange(len(words)), chance.choice(_ODD_TEXTS)
            other = chance.choice((odd, str(chance.choice(_ODD_VALUES))[:500], chance.choice(words), ""))
            words[at : at + chance.choice((0, 1, 1, 3))] = [other]
            words = words or ["x"]
        (folder / "recipe.txt").write_bytes("".join(words).encode("utf-8", "surrogatepass"))
        return [folder / "recipe.txt"]
    value = parse_recipe(chance.choice(RECIPES)).to_dict()
    for _ in range(chance.choice((1, 1, 2))):
        value = alter_value(value, chance)
    (folder / "recipe.json").write_bytes(json_bytes(value, chance))
    return [folder / "recipe.json"]


MAKERS: dict[str, Callable[[Path, random.Random], list[Path]]] = {
    "csv": make_csv,
    "jsonl": make_jsonl,
    "parquet": make_parquet,
    "artifact": make_artifact,
    "words": make_words,
    "request": make_request,
    "recipe": make_recipe,
}

_ORDER = Order("notes", csv=False, header=Header(COLUMNS, "fuzz", "2026-01-01T00:00:00"))
_NOTES: list[Any] = [row["text"] for row in ROWS] + ["", "\0", "\ud800 fever", "fever " * 2_000]


class Reader:
    """Reads inputs of every kind as the commands do; rules are loaded once."""

    def __init__(self) -> None:
        self._rules = Extractor(
            Settings(task="mentions", symptoms=[], max_tokens=1, pad_id=0, lexicon="paper", rules=True),
            None,
            Path(),
            1,
        )

    def read(self, kind: str, path: Path) -> str:
        """What became of the input: `answered`, `refused`, or a finding."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self._read(kind, path)
        except (InputError, Refusal) as error:
            return self._checked(error)
        except BaseException as error:  # a panic of Rust is no Exception
            place = error.__traceback__
            while place and place.tb_next:
                place = place.tb_next
            where = (
                ""
                if place is None
                else f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
            )
            return f"traceback: {type(error).__name__}{where}"
        return "answered"

    def _read(self, kind: str, path: Path) -> None:
        if kind in {"csv", "jsonl", "parquet"}:
            counts = ItemCounts()
            for chunk in cut_chunks(stream_items(find_notes([str(path)]), counts)):
                answer_chunk(self._rules, chunk, _ORDER)
        elif kind == "artifact":
            Extractor.load(path)(_NOTES)
        elif kind == "words":
            name = path.stem
            words = read_own_words(**{name: path})
            words.annotator("paper").mentions(_NOTES[0])
        elif kind == "recipe":
            self._read_recipe(path)
        else:
            request = parse_request(path.read_bytes(), 256)
            notes = request.notes if isinstance(request, ManyNotes) else [request]
            for note in notes:
                render(self._rules.answer(note.text))

    @staticmethod
    def _read_recipe(path: Path) -> None:
        """A text as `--recipe` takes it, or tables, of which JSON holds more than TOML."""
        if path.suffix == ".txt":
            recipe = read_recipe(path.read_bytes().decode("utf-8", "surrogatepass"))
        else:
            try:
                tables = json.loads(path.read_bytes())
            except (ValueError, RecursionError):
                return
            recipe = Recipe.from_dict(tables if isinstance(tables, dict) else {"step": tables})
        if parse_recipe(str(recipe)) != recipe:
            raise ValueError("read back, it is another recipe")

    @staticmethod
    def _checked(error: InputError | Refusal) -> str:
        said = str(error)
        if isinstance(error, Refusal):
            return "refused" if error.status < 500 else f"traceback: answered {error.status}"
        if said.count("\n") > _MESSAGE_LINES or len(said) > _MESSAGE_CHARACTERS:
            return "a long message"
        return "refused"


@dataclass(frozen=True)
class Finding:
    """One input that did what it must not."""

    kind: str
    number: int
    what: str


def chance_of(seed: int, kind: str, number: int) -> random.Random:
    """What decides on input `number` of a kind."""
    return random.Random(f"{seed} {kind} {number}")  # noqa: S311  no secret


def work(connection: Connection, seed: int) -> None:
    """Make and read the inputs that are asked for, until None is."""
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_AS, (SPACE_BYTES, SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reader = Reader()
    while (asked := connection.recv()) is not None:
        kind, number = asked
        with tempfile.TemporaryDirectory() as folder:
            (path,) = MAKERS[kind](Path(folder), chance_of(seed, kind, number))
            result = reader.read(kind, path)
        connection.send((result, own_peak_bytes()))


class Worker:
    """A process that reads inputs, and is replaced when it dies or takes too long or too much."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, self._seed), daemon=True)
        self._process.start()
        theirs.close()

    def read(self, kind: str, number: int) -> str:
        """What became of input `number` of a kind."""
        try:
            self.connection.send((kind, number))
            if not self.connection.poll(SECONDS):
                return self._replaced(f"longer than {SECONDS} s")
            result, peak = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(SECONDS)
            return self._replaced(f"the process died ({self._process.exitcode})")
        return self._replaced(f"memory of {peak / 1e9:.1f} GB") if peak > MEMORY_BYTES else str(result)

    def _replaced(self, why: str) -> str:
        self.end()
        self._start()
        return why

    def end(self) -> None:
        """Stop the process, which tidies up if it can."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self._process.join(1)
        self._process.kill()
        self._process.join()


def run(seed: int, asked: Sequence[tuple[str, int]]) -> tuple[Counter[str], list[Finding]]:
    """Read the inputs that are `asked` for in one worker: what became of them, and the findings."""
    worker, counts, findings = Worker(seed), Counter[str](), []
    try:
        for kind, number in asked:
            result = worker.read(kind, number)
            good = result in {"answered", "refused"}
            counts[f"{kind} {result if good else 'found'}"] += 1
            if not good:
                findings.append(Finding(kind, number, result))
    finally:
        worker.end()
    return counts, findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Read as many inputs as are asked for; 1 if there are findings."""
    from concurrent.futures import ThreadPoolExecutor

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs, of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=list(MAKERS), help="all by default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the inputs of findings here")
    parser.add_argument("-o", "--output", type=Path, help="write counts and findings as JSON")
    given = parser.parse_args(arguments)
    kinds = given.kind or list(MAKERS)
    asked = [(kinds[at % len(kinds)], at // len(kinds)) for at in range(given.count)]
    began = time.monotonic()
    with ThreadPoolExecutor(given.workers) as pool:
        parts = list(
            pool.map(partial(run, given.seed), [asked[at :: given.workers] for at in range(given.workers)])
        )
    counts = sum((part[0] for part in parts), Counter[str]())
    findings = [finding for part in parts for finding in part[1]]
    report = {
        "format": 1,
        "seed": given.seed,
        "count": given.count,
        "seconds": round(time.monotonic() - began, 1),
        "counts": dict(sorted(counts.items())),
        "findings": [asdict(one) for one in findings],
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if given.output:
        write_json(given.output, report)
    for one in findings if given.keep else ():
        folder = given.keep / f"{one.kind}-{one.number}"
        folder.mkdir(parents=True, exist_ok=True)
        MAKERS[one.kind](folder, chance_of(given.seed, one.kind, one.number))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
