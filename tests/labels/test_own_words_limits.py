"""Templates that stand for more than fits are refused at once, in every list of a user's files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.labels.own_words import read_own_words

MANY = "{a,b}" * 40
FOURTEEN = "{a,b}" * 14
SYMPTOM = '\n[[symptom]]\nid = "x"\nname = "x"\nforms = ["fever"]\n'
ALONE = 'extends = "none"\n'


def listed(texts: list[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def letters(number: int) -> str:
    return "".join(chr(97 + number // 26**place % 26) for place in range(4))


def denied(number: int) -> str:
    name = f"s{number}"
    denials = f'denials = ["{number} {FOURTEEN}"]'
    return f'[[symptom]]\nid = "{name}"\nname = "{name}"\nforms = ["{name}"]\n{denials}\n'


FORMS = listed([letters(at) for at in range(2_000)])
PATTERNS = listed([f"{{form}} p{at}" for at in range(2_000)])
LEXICONS = {
    "forms": f'{ALONE}[[symptom]]\nid = "x"\nname = "x"\nforms = ["{MANY}"]',
    "words": f'{ALONE}[words]\nw = ["{MANY}"]{SYMPTOM}',
    "many words": f"{ALONE}[words]\n" + "\n".join(f'w{at} = ["{FOURTEEN}"]' for at in range(100)) + SYMPTOM,
    "denials": f'{ALONE}denials = ["{MANY}"]{SYMPTOM}',
    "ignored": f'{ALONE}ignored = ["{MANY}"]{SYMPTOM}',
    "a symptom's denials": f'{ALONE}{SYMPTOM}denials = ["{MANY}"]',
    "denials of many": ALONE + "".join(map(denied, range(100))),
    "denial patterns": f"{ALONE}denial_patterns = {PATTERNS}{SYMPTOM}".replace('["fever"]', FORMS),
    "a misspelled word": f'{ALONE}{SYMPTOM}misspelled = ["{"abcde" * 20_000}"]',
    "combined": f'{ALONE}{SYMPTOM}[combined]\n"{MANY}" = ["x"]',
    "many combined": f"{ALONE}{SYMPTOM}[combined]\n"
    + "\n".join(f'"{at}{FOURTEEN}" = ["x"]' for at in range(100)),
    "sites": f'{ALONE}{SYMPTOM}patterns = ["pain {{site}}"]\nsites = ["{MANY}"]',
}
CUES = {
    "phrases": f'[[cue]]\nassertion = "absent"\nphrases = ["{MANY}"]',
    "words of cues": f'[words]\nw = ["{MANY}"]\n[[cue]]\nassertion = "absent"\nphrases = ["{{w}}"]',
    "removed cues": f'remove = ["{MANY}"]',
}
SECTIONS = {
    "headings": f'[[section]]\nkind = "family"\nheadings = ["{MANY}"]',
    "removed headings": f'remove = ["{MANY}"]',
}
CASES = [
    *(("lexicon", name, text) for name, text in LEXICONS.items()),
    *(("cues", name, text) for name, text in CUES.items()),
    *(("sections", name, text) for name, text in SECTIONS.items()),
]


@pytest.mark.parametrize(("kind", "name", "text"), CASES, ids=[name for _, name, _ in CASES])
def test_templates_without_end_are_refused_at_once(tmp_path: Path, kind: str, name: str, text: str):
    path = tmp_path / f"own.{kind}.toml"
    path.write_text(text, encoding="utf-8")
    began = time.process_time()
    with pytest.raises(InputError, match=r"forms together|more than 100,000|more than 60 letters") as caught:
        read_own_words(**{kind: path})
    assert time.process_time() - began < 10
    assert len(str(caught.value)) < 2_000
