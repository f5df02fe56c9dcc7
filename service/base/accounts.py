"""The operating system account that runs this process, in containers that do not know its name."""

from __future__ import annotations

import getpass
import os
from pathlib import Path


def get_account_name() -> str:
    """The login name; ``uid-N`` for a user id without an entry in the passwd file."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"uid-{os.getuid()}"


def find_account_folder() -> Path | None:
    """The home folder of the account; None if neither ``HOME`` nor the passwd file names one."""
    try:
        return Path.home()
    except RuntimeError:
        return None
