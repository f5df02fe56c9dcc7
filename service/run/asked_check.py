"""Tells sweeps whose trials loops elsewhere ask for from those that train them."""

from __future__ import annotations

from service.base.errors import InputError
from service.sweep.asked import is_asked
from service.sweep.home import SweepFolder


def check_asked(folder: SweepFolder) -> None:
    """Check that a sweep's trials are asked for.

    Raises:
        InputError: it trains them itself.
    """
    if not is_asked(folder):
        raise InputError(
            f"{folder.sweep_id} trains its trials itself, by gapsweep run and gapsweep resume; "
            "gapsweep.ask_tell(SPEC) begins a sweep whose trials a loop of yours asks for"
        )


def refuse_asked(folder: SweepFolder) -> None:
    """Check that a sweep trains its trials itself.

    Raises:
        InputError: loops elsewhere train them.
    """
    if is_asked(folder):
        raise InputError(
            f"the trials of {folder.sweep_id} are trained by a loop of yours, which goes on with "
            f'gapsweep.ask_tell("{folder.sweep_id}"); it takes trials=N there to add some'
        )
