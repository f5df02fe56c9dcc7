"""Prints what pyproject.toml asks for, so that it is installed before the source is looked at.

python requirements.py EXTRA...    what gapsweep needs with these extras
python requirements.py --build     what its wheel is built with
"""

import sys
import tomllib
from pathlib import Path

found = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
if sys.argv[1:] == ["--build"]:
    wanted = found["build-system"]["requires"]
else:
    extras = found["project"]["optional-dependencies"]
    wanted = found["project"]["dependencies"] + [w for e in sys.argv[1:] for w in extras[e]]
print("\n".join(wanted))
