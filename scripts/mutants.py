"""Say of each mutated file how many mutants the unit tests killed, and fail where they are too few."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

LEAST = 90.0  # per cent, of `core` and of the rest each
RESULTS = Path("mutants")


def killed_of(results: Counter[str]) -> float:
    """Return the killed share in per cent; a mutant that runs into the time limit is noticed too."""
    return 100 * (results["killed"] + results["timeout"]) / results.total()


def main() -> None:
    """Print a line a file and one a part, and exit with 1 where a part has too few killed or none looked at."""
    parts: dict[str, Counter[str]] = {"core": Counter(), "what moves weights, takes the lease or aborts": Counter()}
    lines = []
    for file in sorted(RESULTS.glob("*/**/*.py.meta")):
        name = str(file.relative_to(RESULTS)).removesuffix(".meta")
        codes = json.loads(file.read_text())["exit_code_by_key"].values()
        found = Counter(status_by_exit_code[code] for code in codes)
        if found:
            parts["core" if name.startswith("core/") else "what moves weights, takes the lease or aborts"].update(found)
            lines.append(f"{killed_of(found):6.1f} %  {found.total():5}  {name}")
    short = []
    for part, found in parts.items():
        if not found or killed_of(found) < LEAST:
            short.append(part)
        if found:
            lines.append(f"{killed_of(found):6.1f} %  {found.total():5}  all of {part}: {dict(found)}")
    sys.stdout.write("\n".join(lines) + "\n")
    if short:
        sys.exit(f"mutants: fewer than {LEAST:g} % were killed in {' and '.join(short)}; `mutmut show` shows each")


if __name__ == "__main__":
    main()
