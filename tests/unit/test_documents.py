"""What the documents name is there."""

from __future__ import annotations

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
