"""Command line: `python -m infinite_scribe <role>`.

The role is checked before anything heavy is imported, and a signal that arrives during those
imports already ends the process properly: as PID 1 of a container it would be ignored otherwise.
"""

import os
import signal
import sys
from collections.abc import Sequence

from infinite_scribe.agents import ROLES

USAGE = f"usage: docker-entrypoint.sh <role>\nroles: {', '.join(ROLES)}"
EXIT_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Run one role; the exit status is 0 after a stop, 2 after a mistake of the caller."""
    match arguments:
        case ["-h" | "--help"]:
            print(USAGE)
            return 0
        case [role] if role in ROLES:
            return run(role)
        case []:
            mistake = "no role given"
        case [unknown]:
            mistake = f"unknown role {unknown!r}"
        case _:
            mistake = "expected exactly one role"
    print(f"infinite-scribe: {mistake}\n{USAGE}", file=sys.stderr)
    return EXIT_USAGE


def run(role: str) -> int:
    """Load the settings, then the service."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    print(f"infinite-scribe: starting {role}", file=sys.stderr, flush=True)

    from infinite_scribe import settings  # noqa: PLC0415

    try:
        loaded = settings.load()
    except settings.InvalidSettingsError as error:
        print(f"infinite-scribe: invalid setting {error}", file=sys.stderr)
        return EXIT_USAGE

    from infinite_scribe import service  # noqa: PLC0415

    return service.run(role, loaded)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
