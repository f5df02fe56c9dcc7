"""Runs trials with Tune: its settings, the actor class, the resources of a trial."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Trainable

from service.base.versions import get_installed_version
from service.cluster.bridges import Bridge, SlotBridge, TrialBridge
from service.cluster.divisions import TrialContext
from service.cluster.group_actor import GroupActor
from service.cluster.shared import Shared
from service.cluster.slot_actor import SlotActor
from service.cluster.tune_adapters import StudyScheduler, StudySearcher, SweepStopper
from service.spec.resources import Resources
from service.study.slot_flow import ALONE, SlotFlow, Widths
from service.study.trial_flow import TrialFlow


def run_trials(
    flow: TrialFlow, context: TrialContext, concurrent: int, widths: Widths = ALONE
) -> None:
    """Run trials with Tune until the flow has none left or is stopping.

    ``concurrent`` processes, or groups of them, train at once; a process trains up to ``widths``
    trials, a group one.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the study stores failures
    in_groups = context.spec.resources.workers > 1
    bridge = TrialBridge(flow) if in_groups else SlotBridge(SlotFlow(flow, widths))
    while not bridge.over:  # again if the process of a last trial died
        _run_tune(bridge, context, concurrent, widths.most)


def _run_tune(bridge: Bridge, context: TrialContext, concurrent: int, width: int) -> None:
    resources = context.spec.resources
    actor: type[Trainable] = GroupActor
    given: dict[str, Any] = {}
    if resources.workers == 1:
        actor, given = SlotActor, {"width": width}
    shared = Shared(ray.put(context), get_installed_version(), context.policy, resources)
    trainable = tune.with_resources(
        tune.with_parameters(actor, shared=shared, **given),
        build_bundles(resources),
    )
    with tempfile.TemporaryDirectory(prefix="gapsweep-") as scratch:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(bridge),
                scheduler=StudyScheduler(bridge),
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(Path(scratch)),
                stop=SweepStopper(bridge),
                failure_config=tune.FailureConfig(max_failures=0),  # the session decides
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


def build_bundles(resources: Resources) -> tune.PlacementGroupFactory:
    """Build a placement group with one bundle per worker; a group's leader has an empty one."""
    worker = {"CPU": resources.worker_cpus, "GPU": resources.worker_gpus}
    leader: list[dict[str, float]] = [] if resources.workers == 1 else [{}]
    return tune.PlacementGroupFactory(
        [*leader, *[worker] * resources.workers], strategy=resources.placement.upper()
    )
