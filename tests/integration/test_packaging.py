"""The wheel and an editable install, each in a fresh environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.commands import REPOSITORY

LOOK = """
import gapsweep, service, sys
print(gapsweep.__file__, service.__file__, 'torch' in sys.modules, sep='\\n')
gapsweep.load_spec, gapsweep.Regulariser
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of this repository, elsewhere: an install leaves files beside its source."""
    folder = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_it_is_installed_under_its_own_name(source: Path, tmp_path: Path, editable: bool) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": venv, "platbase": venv}))
    # the libraries of this environment, behind what is installed here
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    what = ["--editable", str(source)] if editable else [str(source)]
    install = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install"]
    subprocess.run(
        [*install, "--quiet", "--no-deps", "--no-build-isolation", *what], check=True, cwd=tmp_path
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [venv / "bin" / "python", "-c", LOOK],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    ours, services, torch = done.stdout.split("\n")[:3]
    root = source if editable else site
    assert Path(services).is_relative_to(root)
    assert Path(ours).is_relative_to(root)
    assert torch == "False"
    shown = subprocess.run(
        [venv / "bin" / "gapsweep", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert shown.stdout.startswith("gapsweep "), shown.stderr
