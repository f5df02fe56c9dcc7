"""The command ``gapsweep``, also as ``python -m gapsweep``."""

from __future__ import annotations

import sys

from gapsweep._own_packages import check_own_packages


def main() -> None:
    """Run the command line, after checking that gapsweep's packages are importable."""
    try:
        check_own_packages()
    except ImportError as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(2)
    try:
        from service.cli import main as run_command
    except KeyboardInterrupt:
        sys.exit(130)
    run_command()


if __name__ == "__main__":
    main()
