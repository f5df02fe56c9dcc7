"""The command ``gapsweep``, also as ``python -m gapsweep``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a foreign package in place of ours is a sentence, not a traceback."""
    try:
        import gapsweep  # noqa: F401  # the import is the check
    except ImportError as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(2)
    from service.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main()
