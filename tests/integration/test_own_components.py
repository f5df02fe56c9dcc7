"""A component of each kind that a user wrote, in a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gapsweep
import pytest

from trainables.config.imports import find_import_paths
from trainables.config.registry import Component, Registry

pytestmark = pytest.mark.usefixtures("without_plots")

FOLDER = Path(__file__).parents[1] / "data" / "own"
SPEC: dict[str, Any] = {
    "name": "own",
    "trainable": "trainables.models:MLP",
    "data": {"name": "mine:splits", "rows": 80},
    "model": {"hidden": [8]},
    "training": {"max_epochs": 4, "batch_size": 16, "lr": 0.05},
    "space": {"dropout": {"float": [0.0, 0.5]}},
    "early_stopping": "off",
    "search": {"sampler": "random", "pruner": "none"},
    "budget": {"trials": 4},
    "confirm": "off",
    "resources": {"executor": "local", "concurrent": 1},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    return tmp_path / "home"


def swept(home: Path, **changes: Any) -> gapsweep.Sweep:
    return gapsweep.run({**SPEC, **changes}, home=home, progress=False)


def test_a_penalty_acts_and_is_reported_by_its_name(home: Path) -> None:
    space = {"penalty": {"choice": ["none", "mine:Huber"]}, "lambda": 10.0}
    space["lambda"] = {"choice": [10.0], "when": {"penalty": "mine:Huber"}}
    sweep = swept(home, space=space, search={"sampler": "grid", "pruner": "none"})
    norms = {row["params.penalty"]: row for _, row in sweep.trials.iterrows()}
    assert set(norms) == {"none", "mine:Huber"}
    assert norms["mine:Huber"]["train/loss"] > norms["none"]["train/loss"]
    assert "mine:Huber" in str(sweep.report())
    assert "mine:Huber" in sweep.report().html


def test_an_augmentation_changes_what_is_learned(home: Path) -> None:
    space = {
        "augmentation": {"choice": ["none", "mine:jitter"]},
        "augmentation_strength": {"choice": [1.0], "when": {"augmentation": "mine:jitter"}},
    }
    sweep = swept(home, space=space, search={"sampler": "grid", "pruner": "none"})
    losses = {row["params.augmentation"]: row["train/loss"] for _, row in sweep.trials.iterrows()}
    assert losses["none"] != losses["mine:jitter"]


def test_a_regulariser_bounds_the_weights_that_its_option_says(home: Path) -> None:
    sweep = swept(
        home,
        regularisers={"clip": {"name": "mine:Clip", "bound": 0.5}},
        space={"clip.bound": {"choice": [0.01, 0.5]}},
        search={"sampler": "grid", "pruner": "none"},
        objective={"metric": "val/loss", "mode": "min"},
    )
    best = sweep.best
    assert best is not None
    assert best.params["clip.bound"] == 0.5
    weights = [w for n, w in sweep.best_model().state_dict().items() if n.endswith("weight")]
    assert all(float(w.abs().max()) <= 0.5 for w in weights)
    baseline = sweep.trials[sweep.trials.role == "baseline"]
    assert len(baseline) == 1, "the user's regularisers are off in the baseline"


def test_a_regulariser_acts_before_weights_are_averaged(home: Path) -> None:
    sweep = swept(
        home,
        regularisers={"clip": {"name": "mine:Clip", "bound": 0.01}},
        space={"ema": {"choice": [0.5]}},
        search={"sampler": "grid", "pruner": "none"},
    )
    averages = [w for n, w in sweep.best_model().state_dict().items() if n.endswith("weight")]
    assert all(float(w.abs().max()) <= 0.0101 for w in averages)


def test_a_sampler_takes_its_options_and_the_seed(home: Path) -> None:
    sweep = swept(home, search={"sampler": {"name": "mine:Sampler", "most": 0.1}, "pruner": "none"})
    assert sweep.trials["params.dropout"].max() <= 0.1


HUB = {
    "name": "optunahub",
    "package": "samplers/halton",
    "registry_root": str(FOLDER.parent / "hub" / "package"),
}


def test_a_sampler_of_optunahub_is_loaded_from_a_copy_of_the_hub(home: Path) -> None:
    pytest.importorskip("optunahub")
    sampler = {**HUB, "sampler": "HaltonSampler", "options": {"scramble": True}}
    sweep = swept(home, search={"sampler": sampler, "pruner": "none"})
    assert sweep.trials["params.dropout"].nunique() == 4
    assert "optunahub:load_module" in sweep.spec.import_paths()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": "HaltnSampler"}, "did you mean 'HaltonSampler'"),
        ({"sampler": "HaltonSampler", "package": "samplers/sobol"}, "cannot be loaded"),
        ({"sampler": "HaltonSampler", "options": {"speed": 1}}, "speed"),
    ],
)
def test_what_is_wrong_with_a_sampler_of_optunahub(
    home: Path, changes: dict[str, Any], words: str
) -> None:
    pytest.importorskip("optunahub")
    with pytest.raises(gapsweep.SpecError, match=words) as error:
        swept(home, search={"sampler": {**HUB, **changes}})
    assert [p.path for p in error.value.problems] == ["search.sampler"]


def test_a_pruner_prunes(home: Path) -> None:
    sweep = swept(home, search={"sampler": "random", "pruner": {"name": "mine:Pruner", "after": 2}})
    searched = sweep.trials[sweep.trials.role == "search"]
    assert set(searched.state) == {"pruned"}
    assert set(searched.epochs) == {2}


@pytest.mark.parametrize(
    "optimizer", ["mine:SignSgd", {"name": "torch.optim:RMSprop", "alpha": 0.9}]
)
def test_an_optimiser_trains(home: Path, optimizer: object) -> None:
    sweep = swept(home, training={**SPEC["training"], "optimizer": optimizer})
    assert sweep.state == "succeeded"


def test_a_schedule_sets_the_learning_rate(home: Path) -> None:
    schedule = {"name": "mine:half_life", "epochs": 1.0}
    sweep = swept(home, training={**SPEC["training"], "schedule": schedule})
    assert sweep.best is not None
    epochs = [e for trial in sweep.records() if trial.number == 0 for e in trial.epochs]
    assert [e.metrics["lr"] for e in epochs] == [0.05, 0.025, 0.0125, 0.00625]


def test_a_stopping_rule_stops(home: Path) -> None:
    sweep = swept(home, early_stopping={"name": "mine:AfterTwo", "metric": "val/loss"})
    others = sweep.trials[sweep.trials.role != "baseline"]
    assert set(others.epochs) == {2}


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        (
            {"search": {"sampler": {"name": "mine:Samplr"}}},
            "search.sampler",
            "did you mean 'Sampler'",
        ),
        ({"search": {"sampler": "mine:Sampler"}}, "search.sampler", "needs most"),
        (
            {"search": {"sampler": {"name": "mine:Sampler", "most": 1, "least": 0}}},
            "search.sampler",
            "takes no argument 'least'",
        ),
        ({"search": {"pruner": "mine:Pruner"}}, "search.pruner", "needs after"),
        ({"early_stopping": "mine:Never"}, "early_stopping", "has no 'Never'"),
        ({"training": {"optimizer": "mine:Lion"}}, "training.optimizer", "has no 'Lion'"),
        ({"training": {"schedule": "mine:Warm"}}, "training.schedule", "has no 'Warm'"),
        ({"training": {"loss": "mine:loss"}}, "training.loss", "has no 'loss'"),
        ({"training": {"metrics": ["mine:top5"]}}, "training.metrics", "has no 'top5'"),
        ({"regularisers": {"clip": "mine:Clipp"}}, "regularisers.clip", "did you mean 'Clip'"),
        (
            {"space": {"penalty": {"choice": ["mine:Hubber"]}, "lambda": 0.1}},
            "space.penalty",
            "did you mean 'Huber'",
        ),
        (
            {"space": {"augmentation": {"choice": ["none", "mine:jiter"]}}},
            "space.augmentation",
            "did you mean 'jitter'",
        ),
        (
            {"space": {"optimizer": {"choice": ["adamw", "mine:Lion"]}}},
            "space.optimizer",
            "has no 'Lion'",
        ),
        (
            {"space": {"schedule": {"choice": ["cosine", "mine:warm"]}}},
            "space.schedule",
            "has no 'warm'",
        ),
        ({"data": {"name": "mine:splits", "row": 80}}, "data", "takes no argument 'row'"),
    ],
)
def test_a_mistake_is_reported_at_its_place(
    home: Path, changes: dict[str, Any], place: str, words: str
) -> None:
    with pytest.raises(gapsweep.SpecError) as error:
        swept(home, **changes)
    problems = {p.path: p.message for p in error.value.problems}
    assert words in problems[place]


HUBER = {"penalty": {"choice": ["wrong:Unwritten"]}, "lambda": 0.1}


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"search": {"sampler": "wrong:three"}}, "search.sampler", "int; expected: BaseSampler"),
        ({"search": {"pruner": "wrong:three"}}, "search.pruner", "int; expected: BasePruner"),
        ({"early_stopping": "wrong:three"}, "early_stopping", "int; expected: StoppingRule"),
        ({"training": {"optimizer": "wrong:three"}}, "training.optimizer", "expected: Optimizer"),
        ({"training": {"schedule": "wrong:word"}}, "training.schedule", "ValueError"),
        ({"training": {"schedule": "wrong:fails"}}, "training.schedule", "wrong.py, line"),
        ({"regularisers": {"own": "wrong:three"}}, "regularisers.own", "expected: Regulariser"),
        ({"regularisers": {"own": "wrong:fails"}}, "regularisers.own", "LookupError: no such"),
        ({"regularisers": {"own": "wrong:Misfit"}}, "regularisers.own", "LookupError: no such"),
        ({"regularisers": {"own": "wrong:Attach"}}, "regularisers.own", "LookupError: no such"),
        ({"regularisers": {"own": "wrong:Step"}}, "regularisers.own", "LookupError: no such"),
        ({"space": HUBER}, "space.penalty", "does not define value"),
        (
            {"space": {"augmentation": {"choice": ["none", "wrong:three"]}}},
            "space.augmentation",
            "int; expected: Callable",
        ),
        ({"trainable": "wrong:fails", "model": {}}, "trainable", "LookupError: no such"),
        ({"trainable": "wrong:Construct", "model": {}}, "trainable", "LookupError: no such"),
        ({"data": "wrong:fails"}, "data", "LookupError: no such"),
    ],
)
def test_an_error_in_a_component_is_reported_at_its_place(
    home: Path, changes: dict[str, Any], place: str, words: str
) -> None:
    with pytest.raises(gapsweep.SpecError) as error:
        swept(home, **changes)
    problems = {p.path: p.message for p in error.value.problems}
    assert words in problems[place]


def test_an_option_that_only_the_space_gives_is_no_mistake(home: Path) -> None:
    sweep = swept(
        home,
        regularisers={"clip": "wrong:Bound"},
        space={"clip.bound": {"choice": [0.1, 0.5]}},
        search={"sampler": "grid", "pruner": "none"},
    )
    assert sweep.state == "succeeded"


def test_every_import_path_of_a_spec_is_found_in_one_place() -> None:
    spec = gapsweep.parse_spec(
        {
            **SPEC,
            "training": {
                "optimizer": "a:Optimizer",
                "schedule": "b:schedule",
                "loss": "c:loss",
                "metrics": ["d:metric"],
            },
            "search": {
                "sampler": "e:Sampler",
                "pruner": {"name": "patient", "pruner": {"name": "f:Pruner"}},
            },
            "early_stopping": "g:Rule",
            "regularisers": {"own": "h:Own"},
            "space": {
                "penalty": {"choice": ["none", "i:Penalty"]},
                "lambda": {"choice": [1.0], "when": {"penalty": "i:Penalty"}},
                "augmentation": {"choice": ["none", "j:augment"]},
                "optimizer": {"choice": ["adamw", "k:Optimizer"]},
            },
        },
        "the spec",
        Path(),
    )
    expected = set("abcdefghijk") | {"trainables", "mine"}
    assert {path.partition(":")[0].partition(".")[0] for path in spec.import_paths()} == expected
    assert spec.modules() == expected


REGISTRIES: list[Registry[Any]] = [
    gapsweep.samplers,
    gapsweep.pruners,
    gapsweep.optimizers,
    gapsweep.schedules,
    gapsweep.stopping_rules,
    gapsweep.penalties,
    gapsweep.augmentations,
    gapsweep.regularisers,
    gapsweep.data_sources,
    gapsweep.splitters,
]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_a_registry_knows_names_options_and_import_paths(registry: Registry[Any]) -> None:
    own: Component = registry.parse({"name": "mine:Own", "option": 1})
    assert list(find_import_paths(own)) == ["mine:Own"]
    assert own.model_dump()["option"] == 1
    with pytest.raises(ValueError, match=r"is not one of .* or module:Class"):
        registry.parse("no such name")
    for name in registry.built_in():
        assert name in registry.names()


def test_an_installed_package_adds_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Registry[Any] = Registry(
        "sampler", type(gapsweep.samplers.parse("a:B")), group="samplers"
    )
    monkeypatch.setattr(
        "trainables.config.registry.entry_points",
        lambda group: _EntryPoints() if group == "gapsweep.samplers" else (),
    )
    assert registry.parse("clever").name == "plugin:Clever"
    assert registry.names() == ("clever",)


class _EntryPoints(list[Any]):
    """What an installed distribution's metadata would give."""

    def __init__(self) -> None:
        class Entry:
            name, value = "clever", "plugin:Clever"

        super().__init__([Entry()])
