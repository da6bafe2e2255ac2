"""What `mkdocs build` does beside building `docs/`: the cards beside the code become pages of the site.

A document links to a file of the repository by its relative path, which works where the repository is read.
In the site a link to a card leads to the card's page, a link to the README to the first page, and any other
link out of `docs/` is shown as text: the site has no place for that file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: Where the cards of the compression steps lie, and the page of the site that each becomes.
CARDS = {
    path.relative_to(ROOT).as_posix(): f"cards/{path.parent.name}.md"
    for path in sorted(ROOT.glob("src/sympress/compression/*/README.md"))
} | {"src/sympress/runtime/box/README.md": "cards/bundled-model.md"}
#: Every file of the site that has a page elsewhere, by its path in the repository.
PAGES = CARDS | {"README.md": "index.md"}

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\[\]]+)\]\((?P<target>[^()\s#:]+)(?P<anchor>#[^()\s]*)?\)")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```(?P<language>\w+) file=(?P<file>\S+)$", re.MULTILINE)
_METADATA = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the cards into the navigation, in place of `cards/`."""
    for section in config.nav or []:
        if isinstance(section, dict):
            for title, pages in section.items():
                if pages == "cards/":
                    section[title] = list(CARDS.values())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every card."""
    for source, page in CARDS.items():
        text = _METADATA.sub("", (ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_others: Any) -> str:
    """Lead the links of a page to pages of the site, and show the name of a file above what it holds."""
    named = _FILE.sub(r'```\g<language> title="\g<file>"', markdown)
    return links_in_site(named, page.file.src_uri)


def links_in_site(markdown: str, page: str) -> str:
    """Return the text of `page` (a path below `docs/`) with links that the site can follow.

    Fenced code is left as it is.
    """
    parts = _FENCED.split(markdown)
    return "".join(
        part if number % 2 else _LINK.sub(lambda found: _in_site(found, page), part)
        for number, part in enumerate(parts)
    )


def _in_site(found: re.Match[str], page: str) -> str:
    source = next((path for path, card in CARDS.items() if card == page), f"docs/{page}")
    target = os.path.normpath(PurePosixPath(source).parent / found["target"])
    here = PurePosixPath(page).parent.as_posix()
    place = PAGES.get(target)
    if place is None and target.startswith("docs/"):
        place = target.removeprefix("docs/")
    if place is None:
        return found["text"]
    return f"[{found['text']}]({os.path.relpath(place, here)}{found['anchor'] or ''})"
