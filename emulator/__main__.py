"""`python -m emulator`: serve, or clean up after an emulator that was killed."""

from __future__ import annotations

import argparse
import sys

from emulator.cleanup import remove_leftovers
from emulator.settings import Settings, prepare_environment


def main() -> int:
    """Serve on 127.0.0.1:$GATEWAY_PORT until SIGTERM; exit code 2 with the wrong MiniStack."""
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    parser.add_argument(
        "--remove-leftovers", action="store_true", help="remove the containers of a killed emulator, and end"
    )
    arguments = parser.parse_args()
    prepare_environment()
    try:
        settings = Settings.from_environment()
    except ValueError as error:
        parser.error(str(error))
    if arguments.remove_leftovers:
        print(f"{remove_leftovers(settings.gateway_port)} container(s) removed")
        return 0
    from emulator.server import run

    run(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
