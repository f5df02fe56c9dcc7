"""What only the executor in this process has to do: no Ray, and a process left as it was."""

from __future__ import annotations

import shutil
import sys
from bdb import BdbQuit
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from service.base.errors import InputError, SpecError, SweepFailedError
from service.cluster.connection import Cluster
from service.report.report_data import build_report
from service.run.python_api import resume
from service.run.sweep import Sweep
from service.run.sweep_session import check_executor
from service.spec.file import load_spec
from service.spec.resources import Resources
from service.study.records import TrialState
from service.sweep.answer import Claim
from service.sweep.home import Home
from service.sweep.load import find_summary, load_stored_spec, read_sweep
from service.sweep.sweep_record import SweepState
from service.sweep.test_rows import read_test_rows
from tests.contract.sweeps import BASE, Executor, facts
from trainables.config.code_policy import leave_policy
from trainables.models import MLP

pytestmark = pytest.mark.usefixtures("bare_sweeps")
OLD = Path(__file__).parents[1] / "data" / "sweep_of_format_1"
DEBUGGED = """
import pdb
from pathlib import Path


def train(trial, commands):
    trial.checkpoint(nothing=0)
    trial.restore()
    try:
        for epoch in range(trial.epoch, trial.max_epochs):
            if epoch == 1 and Path(commands).exists():
                with open(commands) as typed, open(commands + ".shown", "w") as shown:
                    pdb.Pdb(stdin=typed, stdout=shown, nosigint=True).set_trace()
                    print("never reached")
            yield {"val/loss": 1.0 / (epoch + 1), "val/epoch": epoch}
    finally:
        Path(commands + ".ended").write_text(str(trial.epoch))
"""


@pytest.fixture
def local(tmp_path: Path) -> Executor:
    return Executor("local", tmp_path)


def test_the_process_is_left_as_it_was(local: Executor, tmp_path: Path, restored: None) -> None:
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    leave_policy()  # of an earlier sweep in this process, whose code the next one replaces
    paths = list(sys.path)
    spec = local.spec(training={"max_epochs": 1}, budget={"trials": 1})
    local.run(spec, local.new(tmp_path / "home", spec))
    assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "medium"
    user_code = str(local.modules)  # which stays first on the path
    assert sys.path == [user_code, *(p for p in paths if p != user_code)]


@pytest.fixture
def restored() -> Iterator[None]:
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def test_quitting_a_debugger_ends_the_sweep_and_fails_no_trial(
    local: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quit_at_a_breakpoint(*_: object) -> None:
        raise BdbQuit

    spec = local.spec()
    folder = local.new(tmp_path, spec)
    with monkeypatch.context() as patch:
        patch.setattr(MLP, "step", quit_at_a_breakpoint)
        with pytest.raises(KeyboardInterrupt):
            local.run(spec, folder)
    _, _, cut = read_sweep(folder)
    assert [t.state for t in cut.trials] == [TrialState.RUNNING]
    sweep = local.run(spec, folder).sweep
    assert [t.state for t in sweep.trials] == [TrialState.COMPLETE] * 3


def test_a_debugger_that_is_quit_in_a_loop_ends_the_sweep_which_goes_on_there(
    local: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "debugged_loop.py").write_text(DEBUGGED)
    monkeypatch.syspath_prepend(str(tmp_path))
    commands = tmp_path / "commands"
    commands.write_text("n\np trial.epoch\nq\n")
    spec = local.spec(trainable="debugged_loop:train", model={"commands": str(commands)})
    folder = local.new(tmp_path / "home", spec)
    with pytest.raises(KeyboardInterrupt):
        local.run(spec, folder)
    assert (tmp_path / "commands.ended").read_text() == "1"
    _, _, cut = read_sweep(folder)
    assert [(t.state, len(t.epochs)) for t in cut.trials] == [(TrialState.RUNNING, 1)]
    commands.unlink()
    sweep = local.run(spec, folder).sweep
    assert [[e.epoch for e in t.epochs] for t in sweep.trials] == [[1, 2, 3, 4]] * 3
    assert sweep.trials[0].epochs[3].metrics["val/epoch"] == 3


def test_code_that_ends_the_process_fails_its_trial_and_not_the_sweep(
    local: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*_: object) -> None:
        sys.exit(3)

    spec = local.spec(budget={"trials": 2})
    folder = local.new(tmp_path, spec)
    monkeypatch.setattr(MLP, "step", leave)
    sweep = local.run(spec, folder).sweep
    assert [t.state for t in sweep.trials] == [TrialState.FAILED] * 2
    assert sweep.trials[0].reason == "its code ended the process: SystemExit(3)"


def test_a_device_that_broke_fails_its_trial_and_ends_the_sweep(
    local: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise torch.AcceleratorError("an illegal memory access was encountered")

    spec = local.spec()
    folder = local.new(tmp_path, spec)
    with monkeypatch.context() as patch:
        patch.setattr(MLP, "step", break_down)
        with pytest.raises(SweepFailedError, match=r"illegal memory access.*resume it"):
            local.run(spec, folder)
    _, _, broken = read_sweep(folder)
    assert [t.state for t in broken.trials] == [TrialState.FAILED]
    assert "illegal memory access" in (broken.trials[0].reason or "")
    assert len(local.run(spec, folder).sweep.of_state(TrialState.COMPLETE)) == 2


@pytest.mark.parametrize(("key", "value"), [("concurrent", 2), ("workers", 2)])
def test_more_than_one_at_a_time_is_refused(tmp_path: Path, key: str, value: int) -> None:
    raw = {**BASE, "resources": {"executor": "local", key: value}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(SpecError) as refused:
        load_spec(tmp_path / "spec.yaml")
    (problem,) = refused.value.problems
    assert problem.path == f"resources.{key}"
    assert "must be 1 with `executor: local`" in problem.message


def test_one_at_a_time_is_its_default() -> None:
    assert Resources.model_validate({"executor": "local"}).concurrent == 1
    assert Resources().concurrent == 2


def test_a_cluster_is_refused(local: Executor) -> None:
    spec = local.spec()
    check_executor(spec, Cluster())
    with pytest.raises(InputError, match=r"executor: local.*10\.0\.0\.1:6379.*executor to ray"):
        check_executor(spec, Cluster("10.0.0.1:6379"))


def test_a_sweep_that_an_older_gapsweep_left_is_resumed_to_the_same_end(
    local: Executor, tmp_path: Path
) -> None:
    """Cut off in its last trial of the search; what follows is confirmed by today's rule."""
    folder = Home(tmp_path).sweep("old-1")
    shutil.copytree(OLD, folder.path)
    folder.summary.unlink()
    lines = folder.journal.read_text(encoding="utf-8").splitlines(keepends=True)
    first_epoch = next(
        i for i, line in enumerate(lines) if '"op_code":7' in line and '"trial_id":3' in line
    )
    folder.journal.write_text("".join(lines[: first_epoch + 1]), encoding="utf-8")
    epochs = folder.history.read_text(encoding="utf-8").splitlines(keepends=True)
    folder.history.write_text("".join(epochs[:10]), encoding="utf-8")
    spec = load_stored_spec(folder)
    assert spec.resources.executor == "ray"
    here = spec.resources.model_copy(update={"executor": "local"})
    _, _, cut = read_sweep(folder)
    assert [t.state for t in cut.trials] == [TrialState.COMPLETE] * 3 + [TrialState.RUNNING]
    sweep = local.run(spec.model_copy(update={"resources": here}), folder).sweep
    assert sweep.state is SweepState.SUCCEEDED
    shutil.copytree(OLD, tmp_path / "sweeps" / "whole")
    _, _, whole = read_sweep(Home(tmp_path).sweep("whole"))
    for trial, expected in zip(sweep.searched, whole.searched, strict=True):
        found, before = facts(trial), facts(expected)
        assert (found.params, found.role, found.seed) == (before.params, before.role, before.seed)
        assert found.value == pytest.approx(before.value, rel=1e-4)
        assert [e.epoch for e in found.epochs] == [1, 2, 3]
    assert sweep.answer is not None
    assert sweep.answer.claim is not Claim.UNCONFIRMED
    assert sweep.answer.replicates >= 5


def test_the_report_of_a_sweep_confirmed_by_an_earlier_rule_says_so(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "sweeps" / "old-1")
    _, study, sweep = read_sweep(Home(tmp_path).sweep("old-1"))
    assert (
        "confirmed by the rule of an earlier version"
        in build_report(sweep, study.importances()).verdict
    )


def test_a_sweep_of_this_format_is_read_with_its_answer(tmp_path: Path) -> None:
    kept = OLD.with_name("sweep_of_format_2")
    shutil.copytree(kept, tmp_path / "sweeps" / "old-2")
    folder = Home(tmp_path).sweep("old-2")
    _, study, sweep = read_sweep(folder)
    assert sweep.answer is not None
    summary = find_summary(folder)
    assert summary is not None
    assert sweep.answer == summary.answer
    assert sweep.answer.claim is Claim.NOT_SHOWN
    assert sum(t.replicate > 0 for t in sweep.trials) == 10
    assert build_report(sweep, study.importances()).verdict.startswith("Not shown: ")
    replicate = next(t for t in sweep.trials if t.replicate)
    rows = read_test_rows(folder, replicate)
    assert rows["control/loss"].mean() == pytest.approx(replicate.control["test/loss"])


LATE = """
import torch

calls = 0


def rows(outputs, targets):
    global calls
    calls += 1
    if calls == 9:  # four epochs of validation and training samples, then the test samples
        raise ValueError("nine")
    return (outputs.argmax(1) == targets).float()


def none(outputs, targets):
    global calls
    calls += outputs.requires_grad
    return None if calls == 9 else torch.nn.functional.cross_entropy(outputs, targets)
"""


@pytest.fixture
def late(local: Executor) -> str:
    """The name of a user's module that fails late."""
    (local.modules / "fails_late.py").write_text(LATE)
    return "fails_late"


def test_an_error_of_a_users_metric_after_the_trials_is_one_sentence(
    local: Executor, tmp_path: Path, late: str
) -> None:
    training = {"max_epochs": 4, "metrics": [f"{late}:rows"]}
    spec = local.spec(training=training, budget={"trials": 1})
    folder = local.new(tmp_path / "home", spec)
    words = r"stopped: test: the metric 'rows' raised ValueError: nine \(fails_late\.py, line \d+\)"
    with pytest.raises(SweepFailedError, match=words + r"; finished .* gapsweep resume contract-"):
        local.run(spec, folder)
    assert [t.state for t in local.run(spec, folder).sweep.trials] == [TrialState.COMPLETE]


def test_a_users_loss_that_fails_in_a_later_step_is_the_reason_of_the_trial(
    local: Executor, tmp_path: Path, late: str
) -> None:
    training = {"max_epochs": 4, "loss": f"{late}:none"}
    spec = local.spec(training=training, budget={"trials": 2})
    sweep = local.run(spec, local.new(tmp_path / "home", spec)).sweep
    assert [t.state for t in sweep.trials] == [TrialState.FAILED, TrialState.COMPLETE]
    assert sweep.trials[0].reason == (
        "the loss of training.loss returned None; expected: a float tensor with one loss per "
        "sample, (64,), or one of all of them, ()"
    )


def test_a_finished_sweep_is_extended_with_wider_ranges(local: Executor, tmp_path: Path) -> None:
    spec = local.spec(search={"pruner": "none", "sampler": "random"}, training={"max_epochs": 1})
    folder = local.new(tmp_path, spec)
    local.run(spec, folder)
    sweep = Sweep(folder)
    for widen, more, words in (
        ({"dropout": (0, 0.9)}, 0, "no trial of the search left to sample wider ranges"),
        ({"dropout": (0.1, 0.9)}, 4, "dropout: 0.1 to 0.9 does not contain"),
        ({"dropout": (0, 1.5)}, 4, "space.dropout: invalid value 1.5"),
        ({"dropuot": (0, 0.9)}, 4, "did you mean 'dropout'"),
        ({"penalty": "group_lasso"}, 4, "group_lasso would have no effect"),
    ):
        with pytest.raises(InputError, match=words):
            resume(sweep, trials=more, widen=widen, progress=False)
    before = folder.journal.read_bytes()
    wider = {"dropout": (0, 0.95), "lambda": (1e-8, 10)}
    done = resume(sweep, trials=12, widen=wider, progress=False)
    assert before != folder.journal.read_bytes()
    _, study, found = read_sweep(folder)
    assert study.space.parameters["lambda"].extremes() == (1e-8, 10)
    new = [t.params for t in found.trials[3:]]
    assert len(new) == 12
    assert any(not 1e-4 <= p["lambda"] <= 1e-1 for p in new if "lambda" in p)
    assert any(p["dropout"] > 0.6 for p in new)
    assert done.spec.space == spec.space  # the spec stays what the user wrote
    again = resume(sweep, trials=1, widen=wider, progress=False)  # as after a kill
    assert len(again.trials) == 16
