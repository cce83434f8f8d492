"""What the documents name is there."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from blocks.environment import PROJECT

FOLDERS = "|".join(folder.name for folder in PROJECT.iterdir() if folder.is_dir() and folder.name.isalpha())
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./-]+\.(?:py|js|md|yaml|tf|toml)|(?:{FOLDERS})/)`")
DOCUMENTS = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_each_file_that_a_document_names_exists(document: Path) -> None:
    missing = [name for name in NAMED.findall(document.read_text()) if not (PROJECT / name).exists()]
    assert missing == []


def test_the_documents_name_files() -> None:
    assert sum(len(NAMED.findall(document.read_text())) for document in DOCUMENTS) > 20


def test_each_command_by_hand_says_whether_the_tests_run_it() -> None:
    lines = (PROJECT / "docs/by-hand.md").read_text().splitlines()
    marks = [before for before, line in itertools.pairwise(lines) if line.startswith("```sh")]
    assert len(marks) > 8
    assert set(marks) == {"<!-- sandbox -->", "<!-- AWS -->"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_each_link_leads_to_a_page_and_a_section_that_are_there(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, section = target.partition("#")
        if "://" in target:
            continue
        page = (document.parent / path) if path else document
        if not page.exists() or (section and section not in sections(page)):
            broken.append(target)
    assert broken == []


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
