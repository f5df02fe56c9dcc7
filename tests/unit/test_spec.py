"""From what a user writes to a spec: every mistake said at once, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from search_spaces.presets import list_presets
from service.base.errors import InputError
from service.spec.file import build_json_schema, dump_spec, load_spec, parse_spec
from service.spec.model import SweepSpec
from service.spec.pruners import Hyperband, Median, Patient
from tests.specs import BASE, parse, problems


def test_four_keys_are_enough() -> None:
    spec = parse()
    assert spec.budget.trials == 40
    assert spec.search.baseline
    assert spec.early_stopping is not None


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"nmae": "x"}, "nmae", "did you mean 'name'?"),
        ({"training": {"optimzer": "sgd"}}, "training.optimzer", "did you mean 'optimizer'?"),
        ({"training": {"optimizer": "sgdd"}}, "training.optimizer", "did you mean 'sgd'?"),
        ({"training": {"lr": -1}}, "training.lr", "greater than 0, got -1"),
        ({"training": {"max_epochs": "ten"}}, "training.max_epochs", "got 'ten'"),
        ({"data": {"name": "digit"}}, "data", "did you mean 'digits'?"),
        ({"data": {"name": "csv", "path": "x.csv"}}, "data.target", "is missing"),
        ({"search": {"sampler": "tpee"}}, "search.sampler", "did you mean 'tpe'?"),
        ({"search": {"pruner": "medain"}}, "search.pruner", "did you mean 'median'?"),
        (
            {"search": {"pruner": {"name": "median", "warmup": 3}}},
            "search.pruner.warmup",
            "did you mean 'warmup_epochs'?; valid:",
        ),
        (
            {"search": {"pruner": {"name": "successive_halving", "grace_period": 3}}},
            "search.pruner.grace_period",
            "did you mean 'min_epochs'?",
        ),
        ({"budget": {"trials": 0}}, "budget.trials", "greater than or equal to 1"),
        ({"resources": {"gpus": -1}}, "resources.gpus", "got -1"),
        ({"resources": {"workers": 0}}, "resources.workers", "greater than or equal to 1, got 0"),
        (
            {"resources": {"workers": 3, "gpus": 4}},
            "resources.gpus",
            "must be 3, one for each",
        ),
        ({"resources": {"gpus": 4}}, "resources.gpus", "set workers to 4"),
        ({"resources": {"placement": "pak"}}, "resources.placement", "did you mean 'pack'?"),
        ({"resources": {"workers": 80}}, "resources.workers", "a batch of 64 cannot be divided"),
        (
            {"training": {"precision": "fp8"}},
            "training.precision",
            "not one of fp32, tf32, bf16, fp16",
        ),
        ({"constraints": [{"metric": "gap/loss"}]}, "constraints.0", "needs `max`, `min` or both"),
        ({"name": "Not A Name"}, "name", "got 'Not A Name'"),
        ({"trainable": "no_colon"}, "trainable", "got 'no_colon'"),
        ({"space": {"dropout": {"float": [0.5, 0.1]}}}, "space.dropout", "inverted"),
        ({"space": {"dropuot": {"float": [0, 0.5]}}}, "space.dropuot", "did you mean 'dropout'?"),
        ({"space": {"dropout": {"float": [0, 1.5]}}}, "space.dropout", "invalid value 1.5"),
        ({"space": {"lambda": {"float": [0.1, 1]}}}, "space.lambda", "without `penalty`"),
        ({"space": {"data.k": {"choice": [0, 1]}}}, "space.data.k", "let the function name `fold`"),
        ({"space": {"penalty": {"choice": ["none", "l2"]}}}, "space.penalty", "needs `lambda`"),
        (
            {"space": {"penalty": {"choice": ["l3", "l1"]}, "lambda": {"choice": [0.1]}}},
            "space.penalty",
            "invalid value 'l3': 'l3' is not one of l1, l2",
        ),
        (
            {
                "space": {
                    "augmentation": {"choice": ["none"]},
                    "augmentation_strength": {"float": [0, 1]},
                }
            },
            "space.augmentation_strength",
            "augmentation is never shift or",
        ),
        ({"search": {"enqueue": [{"dropout": 0.9}]}}, "search.enqueue.0.dropout", "0.9"),
    ],
)
def test_a_mistake_is_said_with_its_place(changes: dict[str, Any], path: str, words: str) -> None:
    found = problems(**changes)
    assert list(found) == [path]
    assert words in found[path]


def test_a_metric_that_is_wanted_every_epoch_is_measured_every_epoch() -> None:
    found = problems(training={"measure_every": 3}, objective={"metric": "gap/loss"})
    assert "objective.metric is 'gap/loss'" in found["training.measure_every"]
    assert parse(training={"measure_every": 3}).training.measure_every == 3


def test_several_mistakes_are_said_at_once() -> None:
    found = problems(
        training={"lr": 0, "optimzer": "sgd"}, budget={"trials": "many"}, resources={"cpu": 1}
    )
    assert set(found) == {"training.lr", "training.optimzer", "budget.trials", "resources.cpu"}


def test_a_strength_must_hang_on_what_it_strengthens() -> None:
    lam = {"float": [1e-4, 1e-1], "log": True}
    space: dict[str, Any] = {"penalty": {"choice": ["none", "l1"]}, "lambda": lam}
    assert "add `when: {penalty: [l1]}`" in problems(space=space)["space.lambda"]
    space["lambda"] = {**lam, "when": {"penalty": "l1"}}
    assert parse(space=space).space.parameters["lambda"].when == {"penalty": ("l1",)}


def test_ema_and_swa_exclude_each_other() -> None:
    both = {"ema": {"float": [0.9, 0.99]}, "swa": {"float": [0.1, 0.5]}}
    assert "mutually exclusive" in problems(space=both)["space.swa"]
    apart: dict[str, Any] = {
        "batch_size": {"choice": [32, 64]},
        "ema": {"float": [0.9, 0.99], "when": {"batch_size": 32}},
        "swa": {"float": [0.1, 0.5], "when": {"batch_size": 64}},
    }
    assert len(parse(space=apart).space.parameters) == 3


def test_short_forms() -> None:
    assert parse(early_stopping="off").early_stopping is None
    assert parse(early_stopping=False).early_stopping is None
    patient = parse(search={"pruner": {"name": "patient", "pruner": "hyperband"}}).search.pruner
    assert isinstance(patient, Patient)
    assert isinstance(patient.pruner, Hyperband)
    assert isinstance(parse(search={"pruner": "median"}).search.pruner, Median)
    metrics = parse(training={"metrics": ["my.metrics:f1"]}).training.metrics
    assert [(m.path, m.name) for m in metrics] == [("my.metrics:f1", "f1")]


@pytest.mark.parametrize("preset", list_presets())
def test_presets_are_spaces(preset: str) -> None:
    assert parse(space={"preset": preset}).space.parameters


def test_a_preset_can_be_narrowed_beside_its_name() -> None:
    space = parse(space={"preset": "regularisation", "dropout": {"float": [0.1, 0.2]}}).space
    assert space.parameters["dropout"].describe() == "a number from 0.1 to 0.2"
    assert "lambda" in space.parameters
    assert "did you mean 'dropout'" in problems(space={"preset": "dropuot"})["space.preset"]


def test_a_space_file_lies_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("dropout: {float: [0.0, 0.3]}\n")
    spec = parse_spec({**BASE, "space": {"file": "space.yaml"}}, "spec.yaml", tmp_path)
    assert spec.space.parameters["dropout"].describe() == "a number from 0 to 0.3"


def test_overrides_change_one_key(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(BASE))
    spec = load_spec(path, ["budget.trials=7", "search.pruner={name: median}", "training.lr=1e-2"])
    assert (spec.budget.trials, spec.training.lr) == (7, 0.01)
    with pytest.raises(InputError, match="key=value"):
        load_spec(path, ["budget.trials"])


@pytest.mark.parametrize(
    ("short", "override", "at"),
    [
        ({"search": {"sampler": "tpe"}}, "search.sampler.n_startup_trials=5", "search.sampler"),
        ({"search": {"pruner": "median"}}, "search.pruner.startup_trials=5", "search.pruner"),
        (
            {"training": {"optimizer": "sgd"}},
            "training.optimizer.momentum=0.5",
            "training.optimizer",
        ),
        ({"data": "digits"}, "data.seed=3", "data"),
    ],
)
def test_an_option_of_a_component_in_short_form_can_be_set(
    tmp_path: Path, short: dict[str, Any], override: str, at: str
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**BASE, **short}))
    key, _, value = override.partition("=")
    component = load_spec(path, [override]).model_dump(mode="json")
    for name in at.split("."):
        component = component[name]
    assert component[key.rpartition(".")[2]] == yaml.safe_load(value)
    assert component["name"] in str(short)


def test_relative_paths_are_taken_from_the_specs_folder(tmp_path: Path) -> None:
    data = {"name": "csv", "path": "table.csv", "target": "y"}
    spec = parse_spec({**BASE, "data": data}, "spec.yaml", tmp_path)
    assert spec.data.path == tmp_path / "table.csv"


def test_a_spec_is_frozen_and_reads_back_equal(tmp_path: Path) -> None:
    spec = parse(early_stopping=None, training={"penalised": {"scale": {"1*": 0.1}}})
    with pytest.raises(ValidationError):
        spec.name = "other"
    path = tmp_path / "spec.yaml"
    path.write_text(dump_spec(spec))
    assert load_spec(path) == spec


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("sampler", "; did you mean `search.sampler`?"),
        ("seed", "; did you mean `training.seed` or `search.seed`?"),
        ("budgets", "; did you mean 'budget'?"),
        ("metric", "; did you mean `objective.metric`?"),
        ("nothing", "; valid: audit, "),
    ],
)
def test_an_unknown_key_is_looked_for_in_the_other_sections(key: str, hint: str) -> None:
    assert problems(**{key: 1})[key].startswith(f"unknown key{hint}")
    assert "did you mean `search.pruner`?" in problems(budget={"pruner": "median"})["budget.pruner"]


def test_the_schema_names_every_key() -> None:
    schema = build_json_schema()
    assert set(schema["properties"]) == set(SweepSpec.model_fields)
    assert schema["additionalProperties"] is False


def test_a_confirmation_that_an_older_gapsweep_stored_is_read() -> None:
    old = {"top_k": 2, "seeds": 5, "pick": "one_standard_error"}
    confirm = parse(confirm=old).confirm
    assert confirm is not None
    assert (confirm.top_k, confirm.pick) == (2, "simplest")
    assert "unknown key" in problems(confirm={"seeds": 5})["confirm.seeds"]


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"confirm": {"trainings": 12}}, "confirm.trainings", "12 pay 3 replicates of 4 trainings"),
        ({"confirm": {"trainings": 12}}, "confirm.trainings", "or top_k to 1 or fewer"),
        ({"confirm": {}, "data": {"name": "digits", "test": 0}}, "confirm", "needs test rows"),
        ({"confirm": {}, "search": {"baseline": False}}, "confirm", "search.baseline: true"),
        ({"confirm": {"replicates": 4}}, "confirm.replicates", "greater than or equal to 5"),
        ({"confirm": {"min_effect": 0}}, "confirm.min_effect", "greater than 0"),
        (
            {
                "space": {"lr": {"float": [0.1, 1]}, "dropout": {"float": [0, 0.5]}},
                "budget": {"trials": 6},
            },
            "budget.trials",
            "of which 5 tune the other parameters",
        ),
    ],
)
def test_a_confirmation_that_cannot_be_made_is_refused(
    changes: dict[str, Any], path: str, words: str
) -> None:
    assert words in problems(**changes)[path]


def test_a_sweep_is_confirmed_unless_it_cannot_be() -> None:
    assert parse().confirm is not None
    assert parse(confirm="off").confirm is None
    assert parse(data={"name": "digits", "test": 0}).confirm is None
    assert parse(search={"baseline": False}).confirm is None


@pytest.mark.parametrize("changes", [{}, {"confirm": "off"}, {"confirm": {"pick": "simplest"}}])
def test_a_confirmation_is_stored_as_it_is(changes: dict[str, Any], tmp_path: Path) -> None:
    spec = parse(**changes)
    path = tmp_path / "spec.yaml"
    path.write_text(dump_spec(spec))
    assert load_spec(path) == spec


@pytest.mark.parametrize("off", [False, "off", "none"])
@pytest.mark.parametrize("key", ["pruner", "fold_pruner"])
def test_off_is_no_pruner_in_every_spelling(key: str, off: object) -> None:
    search = parse(search={"folds": 5, key: off}).search
    assert getattr(search, key).name == "none"


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"search": {"sampler": False}}, "search.sampler", "'off' is not one of tpe, random"),
        ({"search": {"pruner": 3}}, "search.pruner", "needs a name: median, "),
        ({"search": {"pruner": 3}}, "search.pruner", "or module:Class; got 3"),
        ({"search": {"sampler": None}}, "search.sampler", "got None"),
        ({"search": {"sampler": ["tpe"]}}, "search.sampler", "needs a name: tpe, random"),
        ({"training": {"optimizer": 1}}, "training.optimizer", "needs a name: "),
        ({"data": 5}, "data", "needs a name: "),
    ],
)
def test_a_component_of_another_form_is_refused_with_the_names(
    changes: dict[str, object], path: str, words: str
) -> None:
    assert words in problems(**changes)[path]
