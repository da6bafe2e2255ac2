"""What the stored results of a folder were made from: settings, and inputs by their content.

Whoever keeps results writes such a claim beside them, and compares it before anything stored is used.
A path is not in it: files that moved are the same files, and a file that was edited is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympress.errors import InputError

#: What each input is called when it has changed, in the order in which they are compared: whoever edits the
#: lexicon changes labels and split too.
INPUTS = {
    "model": "the model",
    "teachers": "a further teacher",
    "notes": "the notes, or their order,",
    "lexicon": "the lexicon",
    "labels": "the labels",
    "split": "the split",
    "transfer": "the transfer notes",
    "silver": "the unlabelled reports",
    "encoder": "the encoder",
}


ADVICE = "choose another -o"


def check_claim(
    where: object,
    found: Mapping[str, Any],
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    advice: str = ADVICE,
) -> None:
    """Compare what a folder was begun with to what this call has; of `inputs`, as many as are known yet.

    Args:
        where: the folder, for the message.
        found: what is stored, with `settings` and `inputs`.
        settings: plain JSON values; what else is stored is not compared.
        inputs: SHA-256 of each input, by the names of `INPUTS`.
        advice: what to do.

    Raises:
        InputError: one differs (the message has the first), or nothing tells what the folder was made from.
    """
    check_inputs(where, found.get("inputs"), {}, advice=advice)
    check_settings(where, found.get("settings", {}), settings, advice=advice)
    check_inputs(where, found["inputs"], inputs, advice=advice)


def check_settings(
    where: object, found: Mapping[str, Any], wanted: Mapping[str, Any], *, advice: str = ADVICE
) -> None:
    """The part of `check_claim` for settings."""
    for key, value in wanted.items():
        if found.get(key) != value:
            raise InputError(f"{where}: its {key} is {found.get(key)!r}, not {value!r}; {advice}")


def check_inputs(where: object, found: object, wanted: Mapping[str, str], *, advice: str = ADVICE) -> None:
    """The part of `check_claim` for inputs; anything stored but a mapping is of an older version."""
    if not isinstance(found, Mapping) or not wanted.keys() <= found.keys():
        raise InputError(
            f"{where}: an older sympress began it and did not note what its inputs held; {advice}"
        )
    for name, called in INPUTS.items():
        if name in wanted and found[name] != wanted[name]:
            raise InputError(f"{where}: {called} changed since it was begun; undo that, or {advice}")
