"""What a submitted sweep would use of a cluster, by its spec."""

from __future__ import annotations

import functools

import yaml
from pydantic import ValidationError

from service.base.amounts import Amount
from service.server.shares import Demand
from service.server.store.job_records import Job
from service.spec.resources import Resources


def demand_of(job: Job) -> Demand:
    """Read from the spec as it was stored."""
    asked = _resources(job.spec)
    trial = Amount(asked.worker_cpus * asked.workers, asked.gpus)
    return Demand(job.sweep_id, job.owner, trial, asked.concurrent)


@functools.lru_cache(maxsize=10_000)  # asked for every round of the queue
def _resources(spec: str) -> Resources:
    """What was stored by another version and is none to this one counts as the usual."""
    try:
        return Resources.model_validate(yaml.load(spec, yaml.CSafeLoader).get("resources", {}))
    except ValidationError:
        return Resources()
