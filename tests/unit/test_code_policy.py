"""What a spec may load: from where, and which objects of what an allow-list names."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.base.errors import SpecError
from service.cluster.code_access import enter_policy
from service.cluster.divisions import TrialContext
from service.cluster.jobs import Launch
from service.cluster.jobs_client import build_driver_command
from service.cluster.worker import Worker
from service.run.preflight import run_preflight
from service.run.user_code import find_code_problems, pin_code, use_folders
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.spec.named_code import check_texts
from service.study.messages import Assignment, TrialFailure
from service.study.records import Role
from tests.trainings import splits
from tests.worlds import SPEC
from trainables.config.code_files import find_code_files
from trainables.config.code_policy import (
    ARGUMENT,
    DATA,
    LOSS,
    TRAINABLE,
    CodePolicy,
    Kind,
    describe_function,
    describe_kind,
    get_policy,
    load_named,
)
from trainables.data.rows import GivenRows
from trainables.errors import ContractError

FOLDER = Path(__file__).parents[1] / "data" / "allowed"
OURS = "ours_allowed"
SAMPLER = describe_kind("optuna.samplers:BaseSampler")
PENALTY = describe_kind("trainables.regularisers.penalties:Penalty")
AUGMENTATION = describe_kind("collections.abc:Callable")
SCHEDULE = describe_kind("builtins:object")
RULE = describe_kind("trainables.config.stopping:StoppingRule")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The operator's module as if it were installed; what is called leaves a file here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(FOLDER)])
    yield
    assert not list(tmp_path.rglob("CALLED")), "something was called"


def allow(*patterns: str) -> None:
    CodePolicy(folders=(str(FOLDER),), allow=patterns).enter()


def spec_with(**changes: Any) -> SweepSpec:
    return parse_spec({**SPEC, "confirm": "off", **changes}, "the spec", Path.cwd())


LOADERS = [
    "trainables.exporting:save_file",
    "trainables.sources:function",
    "trainables.datasets:load",
    "trainables.data.datasets:load",
    "trainables.data.data_functions:bind",
    "trainables.config.imports:load_object",
    "trainables.config.code_policy:load_named",
    "trainables.config.construct:construct",
    "trainables.analysis.export:export",
    "trainables.regularisers.penalties:build_penalty",
    "trainables.regularisers.dropout:SetDropout",
    "trainables.compat:BatchNorm",
    "trainables.models.mlp:nn",
    "service.server.driver:main",
    "gapsweep:run",
    "os:abort",
]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: {"trainable": path},
        lambda path: {"trainable": path, "model": {"filename": "CALLED", "tensors": {}}},
        lambda path: {"data": path},
        lambda path: {"data": {"name": "function", "path": path, "config": "platform:platform"}},
        lambda path: {"training": {"loss": path}},
        lambda path: {"training": {"metrics": [path]}},
        lambda path: {"training": {"metrics": [{"path": f"{OURS}:focal", "by": [path]}]}},
        lambda path: {"training": {"loss": {"path": f"{OURS}:focal", "by": {"x": path}}}},
        lambda path: {"training": {"optimizer": path}},
        lambda path: {"training": {"schedule": {"name": path, "path": "os:abort"}}},
        lambda path: {"early_stopping": {"name": path}},
        lambda path: {"search": {"sampler": path}},
        lambda path: {"search": {"pruner": path}},
        lambda path: {"search": {"pruner": {"name": "patient", "patience": 1, "pruner": path}}},
        lambda path: {"data": {"name": "digits", "split": path}},
        lambda path: {"regularisers": {"mine": path}},
        lambda path: {
            "space": {
                "penalty": {"choice": ["none", path]},
                "lambda": {"choice": [1.0], "when": {"penalty": path}},
            }
        },
        lambda path: {
            "space": {
                "augmentation": {"choice": ["none", path]},
                "augmentation_strength": {"choice": [1.0], "when": {"augmentation": path}},
            }
        },
        lambda path: {"space": {"optimizer": {"choice": ["adamw", path]}}},
        lambda path: {"space": {"schedule": {"choice": ["cosine", path]}}},
        lambda path: {"model": {"hidden": [8], "deep": [{"act": [path]}]}},
        lambda path: {"model": {path: 1}},
        lambda path: {"space": {"model.act": {"choice": ["relu", path]}}},
        lambda path: {"regularisers": {"mine": {"name": f"{OURS}:Net", "loader": {"path": path}}}},
        lambda path: {"data": {"name": f"{OURS}:splits", "test": path}},
        lambda path: {"data": {"name": f"{OURS}:splits", "load": [f" {path} "]}},
        lambda path: {"search": {"sampler": {"name": f"{OURS}:Sampler", "inner": {"a": path}}}},
    ],
)
def test_no_key_reaches_a_function_of_ours_or_of_others_and_argument_paths_are_keys(
    change: Any,
) -> None:
    """By the text already, before anything is imported."""
    policy = CodePolicy(allow=("trainables.*", "service.*", "gapsweep:*", f"{OURS}:*"))
    for path in LOADERS:
        spec = spec_with(**change(path))
        with pytest.raises(ContractError, match=f"does not allow '{path}'"):
            check_texts(spec, policy)


def test_the_networks_of_gapsweep_are_allowed_as_the_trainable_and_as_nothing_else() -> None:
    allow("trainables.models:*")
    load_named("trainables.models:MLP", TRAINABLE, {"hidden": [8]})
    check_texts(spec_with(), get_policy())
    for other in (LOSS, ARGUMENT, DATA, SAMPLER):
        with pytest.raises(ContractError, match=r"only trainables.models:CNN"):
            load_named("trainables.models:MLP", other)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Net", TRAINABLE), ("Net", LOSS), ("focal", LOSS), ("Small", PENALTY), ("focal", ARGUMENT)],
)
def test_a_wildcard_allows_public_classes_of_the_kind(name: str, kind: Kind) -> None:
    allow(f"{OURS}:*")
    load_named(f"{OURS}:{name}", kind)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Hidden", TRAINABLE, "is not public: add 'Hidden' to __all__"),
        ("Sampler", SAMPLER, "is not public"),
        ("NotANet", TRAINABLE, "is not an nn.Module or Trainable"),
        ("NotANet", SAMPLER, "is not a class with the methods of BaseSampler"),
        ("NotANet", RULE, "is not a class with the methods of StoppingRule"),
        ("NotANet", AUGMENTATION, "is not an nn.Module, or a function"),
        ("NotANet", SCHEDULE, "must be allowed by its full name"),
        ("NotANet", DATA, "must be allowed by its full name"),
        ("Net", SAMPLER, "is not a class with the methods of BaseSampler"),
        ("Net", PENALTY, "is not a class with the methods of Penalty"),
        ("make", TRAINABLE, "must be allowed by its full name"),
        ("make", LOSS, "is not a function of outputs and targets"),
        ("opener", SCHEDULE, "must be allowed by its full name"),
        ("opener", AUGMENTATION, "must be allowed by its full name"),
        ("splits", DATA, "must be allowed by its full name"),
        ("focal", describe_function({"weight": 1}), "must be allowed by its full name"),
        ("copied", DATA, "is builtin_function_or_method, not a class or a function"),
        ("settings", DATA, "is dict, not a class or a function"),
        ("os", TRAINABLE, "is module, not a class or a function"),
        ("Penalty", PENALTY, "is defined in trainables.regularisers.penalties; name it there"),
        ("RandomSampler", SAMPLER, "is defined in optuna.samplers"),
        ("Path", ARGUMENT, "is defined in pathlib"),
        ("make", ARGUMENT, "must be allowed by its full name"),
        ("NotANet", ARGUMENT, "must be allowed by its full name"),
    ],
)
def test_a_wildcard_allows_no_other_objects(name: str, kind: Kind, words: str) -> None:
    allow(f"{OURS}:*")
    with pytest.raises(ContractError, match=words):
        load_named(f"{OURS}:{name}", kind)


def test_a_full_name_allows_a_function_but_nothing_that_is_defined_elsewhere_or_private() -> None:
    allow(f"{OURS}:make", f"{OURS}:splits", f"{OURS}:Path", f"{OURS}:Hidden", f"{OURS}:NotANet")
    load_named(f"{OURS}:make", TRAINABLE)
    load_named(f"{OURS}:splits", DATA)
    for name in ("Path", "Hidden"):
        with pytest.raises(ContractError, match=r"is defined in|is not public"):
            load_named(f"{OURS}:{name}", TRAINABLE)
    with pytest.raises(ContractError, match=r"is not an nn.Module or Trainable"):
        load_named(f"{OURS}:NotANet", TRAINABLE)
    with pytest.raises(ContractError, match="does not allow"):
        load_named(f"{OURS}:opener", DATA)


def test_arguments_that_name_code_are_resolved_as_well() -> None:
    allow(f"{OURS}:*")
    load_named(f"{OURS}:Net", TRAINABLE, {"act": f"{OURS}:focal"})
    for argument in (f"{OURS}:os", [{"x": (f"{OURS}:Path",)}], {"y": f" {OURS} : Hidden"}):
        with pytest.raises(ContractError, match=r"not a class|is defined in|is not public"):
            load_named(f"{OURS}:Net", TRAINABLE, {"act": argument})


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"trainable": f"{OURS}:make", "model": {"path": "CALLED"}}, "trainable"),
        ({"data": f"{OURS}:splits"}, "data"),
        ({"training": {"loss": f"{OURS}:make"}}, "training.loss"),
        ({"training": {"metrics": [f"{OURS}:make"]}}, "training.metrics"),
        ({"search": {"sampler": {"name": f"{OURS}:make", "path": "CALLED"}}}, "search.sampler"),
        ({"regularisers": {"own": f"{OURS}:make"}}, "regularisers.own"),
        ({"space": {"optimizer": {"choice": ["adamw", f"{OURS}:make"]}}}, "space.optimizer"),
        ({"model": {"hidden": [8], "act": f"{OURS}:os"}}, ""),
    ],
)
def test_a_driver_refuses_them_all_before_it_calls_one(changes: dict[str, Any], where: str) -> None:
    spec = spec_with(**changes)
    allow("trainables.models:*", f"{OURS}:*")
    check_texts(spec, get_policy())
    with pytest.raises(SpecError) as error:
        run_preflight(spec, "the spec")
    assert [p.path for p in error.value.problems][:1] == [where]


def test_the_hub_of_samplers_must_be_named_in_full_and_be_the_public_one() -> None:
    hub = {"name": "optunahub", "package": "samplers/x", "sampler": "X"}
    spec = spec_with(search={"sampler": hub})
    for patterns in (("*",), ("optunahub:*",)):
        with pytest.raises(ContractError, match="does not allow 'optunahub:load_module'"):
            check_texts(spec, CodePolicy(allow=("trainables.models:*", *patterns)))
    policy = CodePolicy(allow=("trainables.models:*", "optunahub:load_module"))
    check_texts(spec, policy)
    local = spec_with(search={"sampler": {**hub, "registry_root": "/tmp/hub"}})
    with pytest.raises(ContractError, match="does not allow registry_root"):
        check_texts(local, policy)


def test_without_an_allow_list_anything_in_the_users_folders_is_loaded() -> None:
    CodePolicy(folders=(str(FOLDER),)).enter()
    load_named(f"{OURS}:make", TRAINABLE)
    load_named("os:getcwd", DATA)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "ownnet").mkdir(parents=True)
    (folder / "ownnet" / "__init__.py").write_text("WHERE = 'bundle'\n")
    return folder


def test_a_module_of_another_folder_is_refused_and_not_imported(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "ownother.py").write_text("open('CALLED', 'w')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "launch"), str(bundle), *sys.path])
    CodePolicy(folders=(str(bundle),), bundled=("ownnet",)).enter()
    with pytest.raises(ContractError, match=r"'ownother' is at .*neither in the sweep's bundle"):
        load_named("ownother:Net", TRAINABLE)
    assert "ownother" not in sys.modules


def test_the_bundle_is_what_is_imported_or_nothing(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ownnet", "ownspace"):
        (tmp_path / "launch" / name).mkdir(parents=True)
        (tmp_path / "launch" / name / "__init__.py").write_text("open('CALLED', 'w')\n")
    (bundle / "ownspace").mkdir()  # loses to a package, wherever that is
    (bundle / "ownspace" / "net.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "launch"), str(bundle), *sys.path])
    CodePolicy(folders=(str(bundle),), bundled=("ownnet", "ownspace")).enter()
    for name in ("ownnet", "ownspace.net"):
        with pytest.raises(ContractError, match=r"is in the bundle, but .*launch"):
            load_named(f"{name}:Net", TRAINABLE)
    monkeypatch.setattr(sys, "path", [str(bundle), *sys.path[2:]])
    assert load_named("ownnet:WHERE", TRAINABLE) == "bundle"


def test_a_package_that_looks_for_its_modules_elsewhere_is_refused(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "nets.py").write_text("Net = 1\n")
    (bundle / "ownnet" / "__init__.py").write_text(f"__path__ = [{str(tmp_path / 'launch')!r}]\n")
    monkeypatch.setattr(sys, "path", [str(bundle), *sys.path])
    CodePolicy(folders=(str(bundle),), bundled=("ownnet",)).enter()
    with pytest.raises(ContractError, match=r"'ownnet.nets' is at|would be imported instead"):
        load_named("ownnet.nets:Net", TRAINABLE)


def test_a_bundle_that_shadows_what_is_installed_on_this_node_is_refused(bundle: Path) -> None:
    (bundle / "pytest.py").write_text("")
    CodePolicy(import_paths=(str(bundle),), folders=(), bundled=("pytest",)).enter()
    ((_, text),) = find_code_problems(spec_with())
    assert text.startswith("the bundle's module 'pytest' would shadow")


def test_a_file_that_changes_after_the_start_is_refused(bundle: Path) -> None:
    CodePolicy(import_paths=(str(bundle),), folders=()).enter()
    pin_code(find_code_files(["ownnet"], [bundle]))
    load_named("ownnet:WHERE", TRAINABLE)
    (bundle / "ownnet" / "__init__.py").write_text("WHERE = 'edited'\n")
    with pytest.raises(ContractError, match="differs from the file that the sweep started with"):
        load_named("ownnet:WHERE", TRAINABLE)


def test_the_home_and_relative_entries_leave_the_path_and_the_environment_stays(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    before = list(sys.path)
    entries = ["", ".", "lib", str(home), str(home / "sweeps"), str(bundle)]
    monkeypatch.setattr(sys, "path", [*entries, *before])
    CodePolicy(folders=(str(bundle),), excluded=(str(home),)).enter()
    assert sys.path == [str(bundle), *(p for p in before if p)]
    monkeypatch.setattr(sys, "path", [*before])
    CodePolicy(folders=(), excluded=("/",)).enter()
    assert {p for p in before if p.startswith(sys.prefix)} <= set(sys.path)


def test_a_users_folders_come_first_and_give_way_to_the_next_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ownsame.py").write_text(f"WHERE = {name!r}\n")
    with use_folders(tmp_path / "one"):
        assert sys.path[0] == str(tmp_path / "one")
        assert load_named("ownsame:WHERE", TRAINABLE) == "one"
    assert get_policy() == CodePolicy()
    with use_folders(tmp_path / "two"):
        assert str(tmp_path / "one") not in sys.path
        with pytest.raises(ContractError, match=r"'ownsame' is at .*one"):  # it is imported already
            load_named("ownsame:WHERE", TRAINABLE)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"optimizer": f"{OURS}:make"}, "is not a class with the methods of Optimizer"),
        ({"schedule": f"{OURS}:opener"}, "must be allowed by its full name"),
        ({"penalty": f"{OURS}:NotANet", "lambda": 1.0}, "is not a class with the methods of"),
        (
            {"augmentation": f"{OURS}:opener", "augmentation_strength": 1.0},
            "must be allowed by its full name",
        ),
        ({"model.hidden": f"{OURS}:make"}, "must be allowed by its full name"),
    ],
)
def test_the_process_of_a_trial_refuses_what_its_driver_would(
    tmp_path: Path, params: dict[str, Any], words: str
) -> None:
    """The policy comes with the data of the sweep, and not from the spec."""
    spec = spec_with(model={"hidden": [8]}, training={"max_epochs": 1})
    policy = CodePolicy(folders=(str(FOLDER),), allow=("trainables.models:*", f"{OURS}:*"))
    rows = GivenRows(splits(60, 30))
    worker = Worker(TrialContext(spec, rows, tmp_path, pickle.loads(pickle.dumps(policy))))
    worker.take(Assignment(0, params, Role.SEARCH))
    answer = worker.advance()
    assert isinstance(answer, TrialFailure)
    assert re.search(words, answer.reason), answer.reason


def test_the_process_of_a_trial_refuses_another_file_than_the_drivers(bundle: Path) -> None:
    CodePolicy(import_paths=(str(bundle),), folders=()).enter()
    pin_code(find_code_files(["ownnet"], [bundle]))
    policy = get_policy()
    enter_policy(policy)
    (bundle / "ownnet" / "__init__.py").write_text("WHERE = 'another node'\n")
    with pytest.raises(ContractError, match="differs from the file that the sweep started with"):
        enter_policy(policy)


def test_a_driver_is_told_the_policy_by_its_command_and_starts_with_the_safe_path() -> None:
    launch = Launch(
        name="x-1",
        sweep_id="x",
        attempt=1,
        home=Path("/data"),
        modules=(Path("/data/bundles/0/mine"),),
        bundle="0" * 64,
        allow=("trainables.models:*", "--x"),
    )
    words = build_driver_command("python", launch)
    assert words[:4] == ["python", "-P", "-m", "service.server.start_driver"]
    assert words[-4:] == [
        "0" * 64,
        "--module=mine",
        "--allow=trainables.models:*",
        "--allow=--x",
    ]
