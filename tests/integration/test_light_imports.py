"""A spec is data: reading one, the client and most commands load no heavy library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import DIGITS, Ran
from tests.contract.sweeps import BASE
from tests.patience import patience

HEAVY = {
    *("torch", "ray", "optuna", "mlflow", "pandas", "sklearn", "scipy", "matplotlib", "kornia"),
    *("lightning", "pytorch_lightning"),
}
MODULES = [
    "gapsweep",
    "service.spec.file",
    "service.spec.model",
    "service.client.client",
    "service.cli",
    "service.server.serve",
    "service.server.api.app",
    "service.sweep.load",
    "service.run.python_api",
    "trainables.config.regularisers",
    "trainables.config.trial_parameters",
    "search_spaces.space",
]


def loaded_after(program: str, *arguments: str, env: dict[str, str] | None = None) -> set[str]:
    """The heavy libraries that a program in a new interpreter has loaded when it ends."""
    report = f"\nimport sys; print(*({sorted(HEAVY)!r} & sys.modules.keys()), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program + report.replace("[", "{").replace("]", "}"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=True,
    )
    return set(done.stderr.split())


IMPORTS = f"""
import importlib, sys
for module in {MODULES!r}:
    before = set(sys.modules)
    importlib.import_module(module)
    print(module, *({HEAVY!r} & (sys.modules.keys() - before)))
"""


@pytest.fixture(scope="module")
def loaded_by_module() -> dict[str, list[str]]:
    """The heavy libraries that each module loads, one after the other in a new interpreter."""
    words = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_loads_no_heavy_library(
    loaded_by_module: dict[str, list[str]], module: str
) -> None:
    assert loaded_by_module[module] == []


def test_the_process_that_hands_out_tests_loads_no_heavy_library() -> None:
    """Its workers wait for it."""
    assert not loaded_after(
        "import sys, tests.conftest, tests.contract.conftest\n"
        "assert not {'hypothesis', 'sqlalchemy', 'service', 'trainables'} & sys.modules.keys()"
    )


def test_processes_that_train_nothing_load_no_torch() -> None:
    loaded = loaded_after("import service.cluster.group_actor, service.cluster.node_inspection")
    assert not loaded & {"torch", "kornia", "optuna", "mlflow"}
    assert "ray" in loaded


def test_augmentations_load_kornia_for_policies_only() -> None:
    build = (
        "from trainables.config.data_info import DataInfo, Kind, Task\n"
        "INFO = DataInfo((1, 8, 8), Task.CLASSIFICATION, 3, Kind.IMAGE)\n"
        "from trainables.regularisers.augmentation import OWN, build_augmentation as build\n"
        "[build(name, 0.5, INFO) for name in OWN[INFO.kind]]\n"
        "from trainables.regularisers import random_erasing\n"
        "import sys\n"
        "assert 'kornia' not in sys.modules\n"
        "build('trivial', 0.5, INFO)\n"
    )
    assert "kornia" in loaded_after(build)


def test_a_driver_loads_what_draws_and_logs_only_when_it_draws_and_logs() -> None:
    """A heavy library is seen: the tests above can fail."""
    loaded = loaded_after("import service.run.sweep_session, service.run.preflight")
    assert loaded >= {"torch", "optuna"}
    assert not loaded & {"matplotlib", "mlflow", "sklearn", "scipy", "kornia", "ray"}


COMMAND = """
import sys
from service.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


COMMANDS = ("list", "report --json", "schema", "--help")
EACH_COMMAND = f"""
import sys
from service.cli import main
for command in {COMMANDS!r}:
    before = set(sys.modules)
    sys.argv = ["gapsweep", *command.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    print(command, *({HEAVY!r} & (sys.modules.keys() - before)), sep=",", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def loaded_by_command(ran: Ran) -> dict[str, list[str]]:
    """The heavy libraries that each command loads, one after the other in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", EACH_COMMAND],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GAPSWEEP_HOME": str(ran.home)},
    )
    return {line.split(",")[0]: line.split(",")[1:] for line in done.stderr.splitlines()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loads_no_heavy_library(
    loaded_by_command: dict[str, list[str]], command: str
) -> None:
    assert loaded_by_command[command] == []


def test_a_sweep_without_ray_does_not_import_it(tmp_path: Path) -> None:
    spec = {
        **BASE,
        "resources": {"executor": "local"},
        "training": {"max_epochs": 1},
        "budget": {"trials": 1},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    words = ["run", str(tmp_path / "spec.yaml"), "--home", str(tmp_path)]
    loaded = loaded_after(COMMAND, *words, env={"GAPSWEEP_MLFLOW_URI": "off"})
    assert "torch" in loaded
    assert "ray" not in loaded


def test_reading_a_spec_loads_no_heavy_library() -> None:
    path = f"Path({str(DIGITS)!r})"
    read = f"from gapsweep import load_spec; from pathlib import Path; load_spec({path})"
    assert not loaded_after(read)


def test_a_foreign_package_in_place_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").touch()
    for command in (["-m", "gapsweep", "list"], ["-c", "import gapsweep; gapsweep.run"]):
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode
        assert f"{tmp_path / 'service' / '__init__.py'} shadows the package" in done.stderr
        assert ("Traceback" in done.stderr) == (command[0] == "-c")


def test_a_users_package_under_a_name_of_ours_is_explained(tmp_path: Path) -> None:
    program = "from gapsweep import load_spec; from trainables.config.imports import load_object\n"
    done = subprocess.run(
        [sys.executable, "-c", program + "load_object('trainables.mine:Net')"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "package 'trainables' of gapsweep has no module" in done.stderr
    assert "rename that package" in done.stderr


EXTRAS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {libraries}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from gapsweep.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "libraries", "extra"),
    [
        (["status", "--server", "http://127.0.0.1:9", "--token", "x"], ["httpx2"], "client"),
        (["users", "list"], ["sqlalchemy", "alembic"], "server"),
        (["serve", "--ray-address", "auto"], ["fastapi", "limits"], "server"),
        (["up"], ["httpx2"], "client"),
        (["studies"], ["optuna_dashboard"], "dashboard"),
    ],
)
def test_a_missing_extra_is_named(
    tmp_path: Path, arguments: list[str], libraries: list[str], extra: str
) -> None:
    program = EXTRAS.format(libraries=libraries)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=patience(60),
        env={**os.environ, "GAPSWEEP_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert f"is missing; pip install 'gapsweep[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
