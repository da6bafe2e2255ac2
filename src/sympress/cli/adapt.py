"""`sympress adapt`: train an encoder on one's own notes before it learns the task."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray
from rich.console import Console

from sympress.claim import check_claim
from sympress.errors import InputError, nearest
from sympress.files import full_disk_explained, read_object, write_json
from sympress.notes.duplicates import connected_components, group_notes
from sympress.notes.placeholders import mask_placeholders
from sympress.notes.read import read_notes
from sympress.notes.split import assign_part, split_notes
from sympress.progress import Reporter
from sympress.study.inputs import fingerprint_frame, fingerprint_texts

if TYPE_CHECKING:
    from sympress.training.adapt import AdaptLog, AdaptSettings

_SPLITS = ("patient", "time", "none")


def adapt(
    notes: Annotated[Path, typer.Option(help="Notes: a file, an archive or a folder.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Encoder folder to write.")],
    encoder: Annotated[str, typer.Option(help="bundled, a folder, or a Hugging Face id.")] = "bundled",
    split: Annotated[
        str, typer.Option(help="Leave out what a study split so would judge: patient, time, or none.")
    ] = "patient",
    validation_from: Annotated[
        datetime | None, typer.Option(help="First day that is left out (split time).")
    ] = None,
    fraction: Annotated[float, typer.Option(help="Share of patients to read.")] = 1.0,
    text_column: Annotated[str | None, typer.Option(help="Name of the text column.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the notes.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Notes a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="The largest one.")] = 5e-5,
    max_tokens: Annotated[int, typer.Option(min=8, help="Longest input in word pieces.")] = 256,
    seed: Annotated[int, typer.Option(help="Of masks, order and held-out notes.")] = 0,
) -> None:
    """Adapt an encoder to your notes, without labels, and say whether that helped.

    Kill it at any time; the same command goes on where it stopped.
    """
    from sympress.extras import require_training

    require_training()
    from sympress.training.adapt import AdaptSettings

    if learning_rate <= 0:
        raise InputError(f"--learning-rate {learning_rate:g}: give one above 0")
    if split not in _SPLITS:
        raise InputError(f"--split {split!r} is not one of {', '.join(_SPLITS)}{nearest(split, _SPLITS)}")
    if validation_from is not None and split != "time":
        raise InputError(f"--validation-from belongs to --split time, the split is {split!r}")
    settings = AdaptSettings(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, max_tokens=max_tokens
    )
    with Reporter() as reporter, full_disk_explained(output):
        read = read_notes(notes, text_column=text_column, fraction=fraction)
        for line in read.counts.remarks:
            reporter.say(line)
        frame, groups = training_side(read.frame, split, validation_from)
        left_out = read.frame.height - frame.height
        reporter.say(
            f"read {read.frame.height:,} notes"
            + (f"; {left_out:,} that a study would judge are left out (split {split})" if left_out else "")
        )
        log = adapt_folder(
            encoder,
            frame,
            groups,
            settings,
            about={
                "encoder": Path(encoder).name if Path(encoder).is_absolute() else encoder,
                "split": split,
                "validation_from": None if validation_from is None else validation_from.isoformat(),
            },
            output=output,
            reporter=reporter,
        )
    _say(log, notes, encoder, output)


def training_side(
    frame: pl.DataFrame, split: str, validation_from: datetime | None = None
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Notes that no study with this split judges, and the group (patients and copies) of each.

    A group goes as a whole if any of its notes would be judged: a study may see but a part of the group.

    Raises:
        InputError: the split is by time and a note has none.
    """
    patients = frame.select(pl.coalesce("patient_id", pl.lit("note/") + pl.col("note_id"))).to_series()
    copies = group_notes(frame)
    rows = np.arange(frame.height, dtype=np.int64)
    first = pl.DataFrame({"patient": patients, "row": rows}).select(pl.col("row").min().over("patient"))
    groups = connected_components(
        frame.height,
        np.concatenate([rows, rows]),
        np.concatenate([first.to_series().to_numpy().astype(np.int64), copies.cluster]),
    )
    if split == "none":
        return frame, groups
    if split == "patient":
        judged = np.array([assign_part(patient) != "train" for patient in patients])
    elif validation_from is not None:
        if frame["time"].null_count():
            raise InputError(f"split by time: {frame['time'].null_count()} notes have no time; use another")
        judged = (frame["time"] >= validation_from).to_numpy()
    else:
        sides = split_notes(frame, copies, rule="time")
        border = frame[np.concatenate([sides.validation, sides.test])]["time"].min()
        judged = (frame["time"] >= border).to_numpy()
    kept = ~np.isin(groups, groups[judged])
    return frame.filter(pl.Series(kept, dtype=pl.Boolean)), groups[kept]


def adapt_folder(
    encoder: str,
    notes: pl.DataFrame,
    groups: NDArray[np.int64],
    settings: AdaptSettings,
    *,
    about: dict[str, Any],
    output: Path,
    reporter: Reporter,
) -> AdaptLog:
    """Adapt `encoder` and write it to `output` with `adapt.json`, or read what is finished there.

    Args:
        encoder: `bundled`, a folder, or a Hugging Face id.
        notes: to learn from, `NOTE_SCHEMA`.
        groups: `(notes,)`, equal for notes of one patient and for copies.
        settings: how to learn.
        about: what `adapt.json` says besides: how the encoder was called, and which notes were left out.
        output: folder of the adapted encoder.
        reporter: where progress goes.

    Raises:
        InputError: `output` holds something else, or was begun with other notes, settings or encoder.
    """
    from sympress.extras import bundled_encoder_folder
    from sympress.training.adapt import AdaptLog, adapt_encoder_
    from sympress.training.encoder import BUNDLED, load_encoder, save_encoder
    from sympress.training.fingerprint import fingerprint_encoder

    _check_free(output)
    loaded = load_encoder(encoder)
    claim = {
        "settings": asdict(settings),
        "inputs": {
            "notes": fingerprint_texts([fingerprint_frame(notes), str(groups.tolist())]),
            "encoder": fingerprint_encoder(loaded),
        },
    }
    done = _finished(output, claim)
    if done is not None:
        reporter.say("done before")
        return AdaptLog(**(done | {"epochs": tuple(done["epochs"])}))
    for warning in loaded.warnings:
        reporter.say(f"note: {warning}")
    work = output / "work"
    write_json(work / "claim.json", claim)
    log = adapt_encoder_(
        loaded.model,
        loaded.tokenizer,
        [mask_placeholders(text) for text in notes["text"]],
        settings,
        work,
        groups=groups,
        head_from=str(bundled_encoder_folder()) if encoder == BUNDLED else encoder,
        progress=lambda steps, total: reporter.step("adapting", steps, total),
    )
    save_encoder(loaded, work / "encoder-folder")
    for file in sorted((work / "encoder-folder").iterdir()):
        file.replace(output / file.name)
    write_json(
        output / "adapt.json", {"format": 2, **about, **claim, "helped": log.helped, "log": asdict(log)}
    )
    shutil.rmtree(work)
    return log


def _check_free(output: Path) -> None:
    """Refuse what is no adaptation, before an encoder is loaded."""
    if output.exists() and not (output.is_dir() and not any(output.iterdir())) and _stored(output) is None:
        raise InputError(f"{output}: exists and is not an adapted encoder; choose another -o")


def _stored(output: Path) -> dict[str, Any] | None:
    """What a finished adaptation, or one that was cut off, says of itself."""
    finished = read_object(output / "adapt.json")
    return read_object(output / "work" / "claim.json") if finished is None else finished


def _finished(output: Path, claim: dict[str, Any]) -> dict[str, Any] | None:
    """The log of this very adaptation if it is finished; None if it is not begun or was cut off."""
    found = _stored(output)
    if found is None:
        return None
    check_claim(output, found, claim["settings"], claim["inputs"])
    log: dict[str, Any] | None = found.get("log")
    return log


def _say(log: AdaptLog, notes: Path, encoder: str, output: Path) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"learnt from {log.notes:,} notes, {log.held_out:,} held out", end="")
    console.print(f"; {log.truncated:,} cut at the limit, {log.empty:,} without words left out")
    if log.fresh_head:
        console.print("the checkpoint has no masked-language head: a fresh one was trained first")
    console.print(f"held-out loss before: {log.before:.4f}")
    for number, epoch in enumerate(log.epochs, 1):
        console.print(f"held-out loss after epoch {number}: {epoch['loss']:.4f}")
    console.print(log.verdict())
    console.print(f"wrote {output}")
    better = str(output) if log.helped else encoder
    console.print(
        f"next: sympress study --notes {shlex.quote(str(notes))} --encoder {shlex.quote(better)} -o RUN"
    )
    if log.helped:
        console.print(
            f"whether that finds more symptoms, a study with --encoder {shlex.quote(encoder)} tells"
        )
