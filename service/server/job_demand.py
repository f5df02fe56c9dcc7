"""The resources that a submitted sweep demands, read from its spec."""

from __future__ import annotations

import functools
from pathlib import Path

from service.base.amount import Amount
from service.server.shares import Demand
from service.server.store.job_records import Job
from service.spec.resources import Resources
from service.spec.stored import parse_stored_spec


def read_demand(job: Job) -> Demand:
    """The demand of a job, from the spec as it is stored."""
    resources = _read_resources(job.spec)
    trial = Amount(resources.worker_cpus * resources.workers, resources.gpus)
    return Demand(job.sweep_id, job.owner, trial, resources.concurrent)


@functools.lru_cache(maxsize=10_000)  # read in every round of the reconciler
def _read_resources(spec: str) -> Resources:
    """Defaults, if another version stored a spec that is invalid in this one.

    Its driver reports what is wrong; the queue goes on, whatever was stored.
    """
    try:
        return parse_stored_spec(spec, "the spec", Path()).resources
    except Exception:
        return Resources()
