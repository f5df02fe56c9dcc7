"""Trains what a sweep found again, on all samples that are not test samples, and records it."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from search_spaces.values import Value
from service.answer.refit_plan import RefitPlan, plan_refit
from service.base.collection import collect_as_usual
from service.base.disk import check_room, explain_full_disk, is_disk_full
from service.base.errors import InputError, Problem, SpecError, SweepFailedError
from service.report.formatting import format_configuration
from service.run.code_map import map_code
from service.run.fingerprints import check_changes, take_fingerprint
from service.run.process_state import preserve_process_state
from service.run.user_code import find_code_problems, fingerprint_code, pin_code, use_folders
from service.spec.model import SweepSpec
from service.sweep.fingerprint import Effect
from service.sweep.home import SweepFolder
from service.sweep.load import read_sweep
from service.sweep.refit_record import (
    Refit,
    get_refit_files,
    get_refit_folder,
    read_refit,
    write_refit,
)
from service.sweep.sweep_record import Sweep
from service.sweep.torch_files import save_tensors
from trainables.analysis.export import Written, export_network
from trainables.analysis.export_subject import SAMPLES, gather_subject
from trainables.analysis.held_out import compare_test, measure_test_rows
from trainables.config.code_files import CodeFile
from trainables.config.training import scale_for_workers
from trainables.config.trial_parameters import read_point, remove_parts
from trainables.data.datasets import open_rows
from trainables.data.digest import digest_rows
from trainables.data.pooled_samples import keep_raw, merge, take_raw
from trainables.data.rows import Rows
from trainables.data.splits import Splits
from trainables.errors import TrainableError
from trainables.loop import TrainingRun
from trainables.loops.finding import find_loop
from trainables.loops.opening import open_run
from trainables.run import EpochResult, Run

Progress = Callable[[int, int, float], None]
"""Called after every epoch with its number, their count, and the loss of its batches."""
_CHECKPOINT = "training.pt"


@dataclass(frozen=True)
class Material:
    """What a sweep's networks are built and trained from, as it is now.

    ``digests`` are those of the data; ``changes`` say what is not what the sweep ran on.
    """

    spec: SweepSpec
    rows: Rows
    code: Mapping[str, Path]
    digests: Mapping[str, str]
    changes: tuple[str, ...]


@contextmanager
def open_material(
    spec: SweepSpec, folder: SweepFolder, *, accept_changes: bool, of_trials: bool = True
) -> Iterator[Material]:
    """Read the data of a sweep, and import its code while the block runs.

    Without ``of_trials`` libraries may have changed: nothing is trained.

    Raises:
        ChangedSweepError: data, code or libraries are not what they were.
        SpecError: the code is refused, or the data cannot be read.
    """
    source = f"{folder.sweep_id}/{folder.spec.name}"
    if spec.data is None:
        raise InputError(
            f"{folder.sweep_id} cannot be refitted: its spec names no `data`, so that its samples "
            "are known only where its trials were trained; train the pick there, with the "
            "parameters that the report shows"
        )
    with use_folders(*folder.read_import_paths()):
        files: tuple[CodeFile, ...] = fingerprint_code(spec)
        pin_code(files)
        refused = [Problem(where, text) for where, text in find_code_problems(spec)]
        if refused:
            raise SpecError(source, refused)
        try:
            rows = open_rows(spec.data)
            now = take_fingerprint(spec, digest_rows(rows), folder.read_import_paths())
            changes = check_changes(folder, now, accept=accept_changes, libraries=of_trials)
            rows = keep_raw(spec.data, rows)
        except TrainableError as error:
            raise SpecError(source, [Problem(error.where or "data", str(error))]) from None
        serious = tuple(str(c) for c in changes if c.effect is not Effect.FREE)
        yield Material(spec, rows, map_code(files), now.data, serious)


def find_or_refit(
    folder: SweepFolder, *, again: bool, accept_changes: bool, progress: Progress
) -> tuple[Refit, bool]:
    """The refit of a sweep, and whether it was there already; ``again`` replaces one.

    A refit that was interrupted goes on from its last epoch, if nothing has changed since.

    Raises:
        SweepBusyError: another process runs or refits the sweep.
        NotReadyError: it has no completed trial.
        ChangedSweepError: data, code or libraries are not what they were.
        SpecError, InputError: its data or code cannot be used, or cannot be refitted.
        SweepFailedError: the training failed.
        DiskFullError: the disk is full; nothing of an earlier refit is changed.
    """
    folder.check_format()
    kept = "an earlier refit is unchanged; free some space, and try again"
    with explain_full_disk(folder.path, kept), folder.lock():
        spec, _, sweep = read_sweep(folder)
        found = None if again else read_refit(folder)
        if found is not None:
            return found, True
        plan = plan_refit(spec, sweep)
        with (
            open_material(spec, folder, accept_changes=accept_changes) as material,
            preserve_process_state(),
        ):
            return _Training(material, sweep, folder, plan, progress).run(), False


class _Training:
    """One refit, from its plan to its record."""

    def __init__(
        self,
        material: Material,
        sweep: Sweep,
        folder: SweepFolder,
        plan: RefitPlan,
        progress: Progress,
    ) -> None:
        self._material, self._sweep, self._folder = material, sweep, folder
        self._plan, self._progress = plan, progress
        self._spec = material.spec
        self._params = remove_parts(plan.params, plan.without, self._spec.neutral)
        self._checkpoint = get_refit_folder(folder) / _CHECKPOINT

    def run(self) -> Refit:
        began = time.time()
        splits = self._merge()
        with self._blame():
            run = build_merged_run(
                self._spec,
                self._params,
                splits,
                baseline=self._plan.baseline,
                without=self._plan.without,
                device=self._spec.resources.device,
            )
            run.end_after(self._plan.epochs)
            torch.set_num_threads(max(1, int(self._spec.resources.worker_cpus)))
            try:
                self._train(run)
            finally:
                run.close()
            metrics = run.best_metrics()
            rows = measure_test_rows(run, splits, run.best_state)
            test = compare_test(run, metrics, rows)
        files = f"{int(began)}-{secrets.token_hex(3)}"
        written = self._export(run, splits, files)
        count = 0 if splits.test is None else len(splits.test)  # type: ignore[arg-type]  # no stream is merged
        refit = self._describe(run, splits, files, written, time.time() - began, count)
        refit = refit.model_copy(update={"metrics": _keep_train(metrics), "test": test})
        write_refit(self._folder, refit)
        return refit

    def _merge(self) -> Splits:
        try:
            return merge(self._material.rows)
        except TrainableError as error:
            raise InputError(f"{self._folder.sweep_id} cannot be refitted: {error}") from None

    @contextmanager
    def _blame(self) -> Iterator[None]:
        """Tell what user's code, the data or the device made fail."""
        try:
            yield
        except TrainableError as error:
            raise SweepFailedError(f"the refit failed: {error}") from error
        except (torch.OutOfMemoryError, MemoryError, torch.AcceleratorError) as error:
            raise SweepFailedError(
                f"the refit failed: {error}; it trains in one process, with the whole batch on one "
                f"{self._spec.resources.device} device"
            ) from error

    def _train(self, run: Run) -> None:
        self._resume(run)
        for result in run.train():
            if not getattr(run, "uses_data", True):
                raise InputError(
                    f"{self._folder.sweep_id} cannot be refitted: the loop {self._spec.trainable} "
                    "does not read trial.data, so that it cannot be given the validation samples"
                )
            self._save(run)
            self._progress(result.epoch, self._plan.epochs, _find_loss(result))

    @property
    def _key(self) -> dict[str, Any]:
        """What a checkpoint must be of, in types that ``weights_only`` loads."""
        plan = self._plan
        return {
            "plan": repr((plan.trial, plan.without, plan.baseline, plan.epochs, self._params)),
            "data": dict(self._material.digests),
            "code": {m: _digest(path) for m, path in self._material.code.items()},
        }

    def _resume(self, run: Run) -> None:
        if not self._checkpoint.exists():
            return
        try:
            state = torch.load(self._checkpoint, weights_only=True, map_location="cpu")
            if state["key"] == self._key:
                run.load_state_dict(state["run"])
        except Exception:  # it is damaged, or of another version: the training starts anew
            self._checkpoint.unlink(missing_ok=True)

    def _save(self, run: Run) -> None:
        save_tensors({"key": self._key, "run": run.state_dict()}, self._checkpoint)

    def _export(self, run: Run, splits: Splits, files: str) -> Written:
        raw = take_raw(self._material.rows, SAMPLES, merged=True)
        run.model.load_state_dict(run.best_state)
        subject = gather_subject(self._spec, self._params, run, splits, raw, self._material.code)
        card = {
            "sweep": self._folder.sweep_id,
            "refit": True,
            "trial": self._plan.trial,
            "params": dict(self._params),
            "epochs": self._plan.epochs,
        }
        target = get_refit_folder(self._folder) / files
        try:
            return export_network(subject, target, card=card)
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            if is_disk_full(error):
                raise
            raise InputError(f"{target} cannot be written ({error.strerror})") from None
        except Exception:  # the writers of weights do not say why they failed
            shutil.rmtree(target, ignore_errors=True)
            check_room(target.parent)
            raise

    def _describe(
        self,
        run: Run,
        splits: Splits,
        files: str,
        written: Written,
        seconds: float,
        test_rows: int,
    ) -> Refit:
        plan, arm = self._plan, self._plan.arm
        rows, val = len(splits.train), len(splits.val)  # type: ignore[arg-type]  # no stream is merged
        return Refit(
            files=files,
            what=plan.what,
            confirmed=arm is not None,
            trial=plan.trial,
            trials=len(self._sweep.trials),
            without=plan.without,
            baseline=plan.baseline,
            params=dict(self._params),
            configuration=format_configuration(self._params),
            epochs=plan.epochs,
            kept_epochs=plan.kept_epochs,
            seed=run.training.seed,
            rows=rows,
            replicate_rows=rows - val,
            test_rows=test_rows,
            data=dict(self._material.digests),
            metrics={},
            test={},
            estimate={} if arm is None else {n: m for n, m in arm.metrics.items() if _is_test(n)},
            replicates=0 if arm is None else arm.replicates,
            seconds=seconds,
            created=time.time(),
            notes=(*splits.notes, *_note_monitors(run)),
            changes=self._material.changes,
            no_program=written.reason,
            unverified=written.unverified,
        )


def build_merged_run(
    spec: SweepSpec,
    params: Mapping[str, Any],
    splits: Splits,
    *,
    baseline: bool,
    without: tuple[str, ...],
    device: str,
) -> Run:
    """The training of a configuration in one process, as several workers would have it.

    Their whole batch and their learning rate are those of :func:`scale_for_workers`; batch norms
    that are synchronised among workers see the same samples in one process. ``measure_every``
    leaves out what is measured of training samples in each epoch.
    """
    point = read_point(spec, params)
    changed: dict[str, Value] = {}
    if find_loop(spec.trainable, point.model) is None:
        training = scale_for_workers(point.training, spec.resources.workers)
        changed = {
            "batch_size": training.batch_size,
            "lr": training.lr,
            "measure_every": training.max_epochs,
        }
    collect_as_usual()
    return open_run(
        spec, {**params, **changed}, splits, baseline=baseline, device=device, without=without
    )


def load_refit_model(spec: SweepSpec, folder: SweepFolder, refit: Refit) -> nn.Module:
    """The network of a refit with its preprocessing, in eval mode; reads the data again.

    Raises:
        SpecError, ChangedSweepError: the data or the code cannot be used.
    """
    from trainables.data.preprocessing import WithPreprocessing

    with open_material(spec, folder, accept_changes=bool(refit.changes)) as material:
        run, splits = rebuild_refit(material, folder, refit)
        return WithPreprocessing(run.model, splits.preprocessing).eval()


def rebuild_refit(material: Material, folder: SweepFolder, refit: Refit) -> tuple[Run, Splits]:
    """The training of a refit at its weights, on the CPU, and its samples."""
    from trainables.analysis.rebuild import load_weights

    splits = merge(material.rows)
    run = build_merged_run(
        material.spec,
        refit.params,
        splits,
        baseline=refit.baseline,
        without=refit.without,
        device="cpu",
    )
    place = get_refit_files(folder, refit)
    found = [p for p in (place / "weights.safetensors", place / "weights.pt") if p.exists()]
    if not found:
        raise InputError(
            f"the weights of {folder.sweep_id}'s refit are missing; "
            f"gapsweep refit {folder.sweep_id} --again makes it anew"
        )
    run.model.load_state_dict(load_weights(found[0]))
    run.model.eval()
    return run, splits


def _note_monitors(run: Run) -> Iterator[str]:
    """Learning rates that fall by a metric do so by other samples than in the replicates."""
    monitors = run.rates.monitors if isinstance(run, TrainingRun) else ()
    if monitors:
        yield (
            f"the learning rate follows {', '.join(monitors)}, which is measured on samples that "
            "are trained on here, so that it falls in other epochs than in the replicates"
        )


def _find_loss(result: EpochResult) -> float:
    """The loss that is shown: that of the batches, or whichever a loop reports."""
    names = ("train_running/loss", "train/loss", "train_reported/loss", "val/loss")
    return next((result.metrics[n] for n in names if n in result.metrics), float("nan"))


def _keep_train(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of the training samples; those of the validation samples were trained on too."""
    return {n: v for n, v in metrics.items() if n.startswith("train/") or n == "sparsity"}


def _is_test(name: str) -> bool:
    return name.startswith(("test/", "test_gap/"))


def _digest(path: Path) -> str:
    from hashlib import sha256

    return sha256(path.read_bytes()).hexdigest()
