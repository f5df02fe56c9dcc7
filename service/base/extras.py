"""Which optional extra of gapsweep installs a library that is missing."""

from __future__ import annotations

import re
from importlib.metadata import requires

_EXTRAS = (
    "client",
    "server",
    "dashboard",
    "optunahub",
    "parquet",
    "mnist",
    "lightning",
    "huggingface",
)
_REQUIREMENT = re.compile(r"^([\w.-]+).*extra == ['\"](\w+)['\"]")


def find_extra(module: str) -> str | None:
    """The first extra whose requirements name a module's library; None if there is none."""
    library = module.partition(".")[0].replace("_", "-").lower()
    found = (_REQUIREMENT.match(line) for line in requires("gapsweep") or ())
    extras = {m.group(2) for m in found if m and m.group(1).lower() == library}
    return next((extra for extra in _EXTRAS if extra in extras), None)


def describe_missing(error: ModuleNotFoundError) -> str | None:
    """What to install for a missing library of an extra; None if the module is no such library."""
    extra = find_extra(error.name or "")
    return None if extra is None else f"{error.name} is missing; pip install 'gapsweep[{extra}]'"
