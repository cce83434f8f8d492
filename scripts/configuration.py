"""Write the tables of docs/configuration.md from the settings and their notes."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.settings import EnvironmentSettings  # noqa: E402
from core.settings_page import documented  # noqa: E402

PAGE = ROOT / "docs/configuration.md"
MARK = "<!-- made by `make configuration` -->\n"

before, mark, _ = PAGE.read_text().partition(MARK)
PAGE.write_text(f"{before}{mark}\n{documented(EnvironmentSettings)}")
