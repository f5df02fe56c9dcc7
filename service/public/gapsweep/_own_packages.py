"""Refuses a foreign package that would be imported in place of one of gapsweep's own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

OWN = ("service", "trainables", "search_spaces")


def check_own_packages() -> None:
    """See that gapsweep's own packages are the ones that Python would import.

    Raises:
        ImportError: a package or module of the same name comes first on the path.
    """
    here = Path(__file__).resolve().parent
    roots = {here.parent, here.parents[2]}  # of an installed wheel, of an editable install
    for name in OWN:
        spec = find_spec(name)
        places = [Path(p).resolve() for p in spec.submodule_search_locations or ()] if spec else []
        if places and places[0].parent in roots:
            continue
        found = spec.origin if spec is not None and spec.origin else (places or ["nothing"])[0]
        raise ImportError(
            f"{found} would be imported in place of gapsweep's own package {name!r}; rename it, "
            "or start gapsweep in another directory"
        )
