"""What answers without an artifact: the rules that come with sympress, as a folder like any other."""

from __future__ import annotations

from pathlib import Path

#: `extractor.json` alone: mentions by the clinical lexicon, sections and assertion rules, without a model.
RULES_FOLDER = Path(__file__).with_name("rules")
