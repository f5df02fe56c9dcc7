"""Detects packages of other projects that shadow those of gapsweep."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

OWN = ("service", "trainables", "search_spaces")


def check_own_packages() -> None:
    """Check that Python imports the packages of gapsweep.

    Raises:
        ImportError: another package or module of the same name is first on the path.
    """
    here = Path(__file__).resolve().parent
    roots = {here.parent, here.parents[2]}  # an installed wheel, an editable install
    for name in OWN:
        spec = find_spec(name)
        places = [Path(p).resolve() for p in spec.submodule_search_locations or ()] if spec else []
        if places and places[0].parent in roots:
            continue
        first = str(places[0]) if places else "nothing"
        found = spec.origin if spec is not None and spec.origin else first
        raise ImportError(
            f"{found} shadows the package {name!r} of gapsweep; rename it, "
            "or start gapsweep in another directory"
        )
