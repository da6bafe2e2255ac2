"""The documents as a site and as files: every link leads somewhere, and nothing is asked of the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.documents import documents

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"!?\[[^\[\]]*\]\((?P<target>[^()\s#]*)(?:#(?P<anchor>[^()\s]*))?\)")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
#: What a browser loads by itself.
LOADED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["']?(https?:)?//""", re.IGNORECASE)


def anchors(text: str) -> set[str]:
    """The anchors that headings make, as GitHub and mkdocs spell them."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.replace("`", "").lower()) for title in titles)
    return {re.sub(r"\s", "-", title.strip()) for title in plain}


@pytest.mark.parametrize("page", documents(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_of_a_document_leads_to_a_file_and_a_heading(page: Path):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for found in LINK.finditer(text):
        target, anchor = found["target"], found["anchor"]
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), found[0]
        assert file.is_relative_to(ROOT), found[0]
        if anchor and file.suffix == ".md":
            known = {re.sub(r"-+", "-", one) for one in anchors(file.read_text(encoding="utf-8"))}
            assert re.sub(r"-+", "-", anchor) in known, found[0]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a warning is an error."""
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
        config.plugins.run_event("startup", command="build", dirty=False)
        build(config)
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what builds the site, not ours
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_site_builds_without_a_warning_and_loads_nothing_from_the_network(site: Path):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert LOADED.search(html) is None, page
        assert str(ROOT) not in html, page


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_site_shows_cards_functions_and_folded_commands(site: Path):
    assert '<h1 id="recipes">' in (site / "cards" / "recipe.html").read_text(encoding="utf-8")
    api = (site / "reference" / "python-api.html").read_text(encoding="utf-8")
    assert 'id="sympress.api.compress"' in api
    assert "unlabelled" in api
    recipes = (site / "results" / "recipes.html").read_text(encoding="utf-8")
    assert "<summary>How to read and remake this table</summary>" in recipes
    assert "sympress study" in recipes
