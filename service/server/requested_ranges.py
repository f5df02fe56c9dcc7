"""Wider ranges that a user asks for when a sweep is queued again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.values import thaw
from search_spaces.widening import list_values, read_wider
from service.server.store.job_records import Job
from service.spec.stored import parse_stored_spec
from service.spec.widened import read_widenings, widen_spec
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sampled_spec
from service.sweep.sweep_files import SERVER_LIMITS


def widen_job(job: Job, texts: Sequence[str], home: Home, data: Any) -> Mapping[str, Any]:
    """All ranges that the sweep is widened to, with those of ``texts``; the driver applies them.

    Raises:
        InputError: a text has another form.
        ProblemsError: a range cannot be widened so.
        DamagedFileError: the sweep's study cannot be used.
    """
    wider = read_widenings(texts)
    if not wider:
        return job.wider
    folder = SweepFolder(home.sweep(job.sweep_id).path, SERVER_LIMITS)
    spec = parse_stored_spec(job.spec, job.sweep_id, data)
    pending = read_wider(job.wider)
    now = widen_spec(read_sampled_spec(spec, folder), pending, job.sweep_id)
    widened = widen_spec(now, wider, job.sweep_id)
    found = list_values(widened.space, [*{**pending, **wider}])
    return {name: [thaw(value) for value in values] for name, values in found.items()}
