"""The study of a sweep as a session takes it up: checked, widened, without an earlier answer."""

from __future__ import annotations

from dataclasses import replace

from search_spaces.widening import Wider
from service.run.evidence import Evidence
from service.run.fingerprints import check_changes, record_fingerprint
from service.run.session_plan import SessionOptions
from service.spec.model import SweepSpec
from service.spec.widened import widen_spec
from service.study.study import SweepStudy, open_study
from service.study.widen import widen_study
from service.sweep.home import SweepFolder
from service.sweep.load import read_sampled_spec


def open_session_study(
    spec: SweepSpec, evidence: Evidence, folder: SweepFolder, options: SessionOptions
) -> SweepStudy:
    """Open the study; it is new if the folder has none. The previous summary is deleted.

    Raises:
        ProblemsError: a range cannot be widened so.
        ChangedSweepError: what the sweep was run on has changed.
    """
    fingerprint = evidence.take_fingerprint(spec, folder.read_import_paths())
    changes = check_changes(folder, fingerprint, accept=options.accept_changes)
    if options.wider:
        _widen(spec, folder, options.wider)
    folder.summary.unlink(missing_ok=True)  # it describes the previous session
    study, ranges = open_study(spec, folder.journal), options.ranges
    if ranges is not None and study.attributes.space is None:
        study.store_space(ranges.space)
    reading = evidence.describe_data(spec.with_space(study.space))
    record_fingerprint(folder, fingerprint, changes, study, reading)
    cleared = replace(
        study.attributes, answer=None, inspection=None, not_neutral=options.not_neutral
    )
    if ranges is not None:
        cleared = replace(cleared, ranges=ranges.notes, idle_ranges=ranges.warnings)
    study.store(cleared)
    return study


def _widen(spec: SweepSpec, folder: SweepFolder, wider: Wider) -> None:
    """Give the sweep's study wider ranges; nothing changes if it has them already.

    Raises:
        ProblemsError: a range cannot be widened so.
    """
    open_study(spec, folder.journal)  # it may not exist yet
    now = read_sampled_spec(spec, folder)
    widened = widen_spec(now, wider, folder.sweep_id)
    if widened.space != now.space:
        widen_study(spec.name, folder.journal, widened.space)
