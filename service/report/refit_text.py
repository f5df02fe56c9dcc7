"""What a refit is and how its score is to be read, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from service.base.number_format import number
from service.report.formatting import format_mean
from service.sweep.refit_record import Refit

_LOSS = ("test/loss",)
_SHOWN = 3
"""Metrics of the test samples that are shown, at most."""


def write_refit(refit: Refit, trials: int | None = None) -> tuple[str, ...]:
    """What was trained and on what, the scores, how to read them, what is missing.

    ``trials`` are how many the sweep has now.
    """
    found = tuple(_list_sentences(refit))
    if trials is None or trials <= refit.trials:
        return found
    more = _count(trials - refit.trials, "more trial")
    return (
        *found,
        f"The sweep has had {more} since, so that its answer may be another now; "
        "`gapsweep refit SWEEP --again` refits what it picks now.",
    )


def _list_sentences(refit: Refit) -> Iterator[str]:
    yield refit.what
    yield f"{refit.configuration}."
    yield (
        f"Trained for {_count(refit.epochs, 'epoch')} ({_explain_epochs(refit)}) on "
        f"{_count(refit.rows, 'sample')}: all that are not test samples."
    )
    yield from _describe_scores(refit)
    yield from (f"{note[0].upper()}{note[1:]}." for note in refit.notes)
    if refit.changes:
        yield f"It ran on something else than the sweep ({'; '.join(refit.changes)})."
    if refit.no_program:
        yield f"Its export has no program ({refit.no_program}); rebuild.py loads it from its code."
    if refit.unverified:
        yield f"Its export is not verified: {refit.unverified}."


def _explain_epochs(refit: Refit) -> str:
    low, high = min(refit.kept_epochs), max(refit.kept_epochs)
    if not refit.replicates:
        return "that which the trial kept"
    spread = f"all kept {low}" if low == high else f"they kept {low} to {high}"
    return f"the median of {_count(len(refit.kept_epochs), 'replicate')}; {spread}"


def _describe_scores(refit: Refit) -> Iterator[str]:
    if not refit.test:
        yield "There are no test samples, so that it is not measured."
        return
    names = sorted((n for n in refit.test if n.startswith("test/")), key=lambda n: n not in _LOSS)
    scores = ", ".join(f"{n} {number(refit.test[n])}" for n in names[:_SHOWN])
    yield f"Measured once, on {_count(refit.test_rows, 'test sample')}: {scores}."
    if not refit.estimate:
        yield (
            "There is no confirmed estimate beside it. The test samples have chosen nothing, so "
            "that this score is fair; it is that of one training."
        )
        return
    means = ", ".join(
        f"{n} {format_mean(refit.estimate[n])}" for n in names[:_SHOWN] if n in refit.estimate
    )
    fewer = "" if refit.replicate_rows is None else f" on {refit.replicate_rows:,} samples each"
    yield f"Confirmed estimate: {means} (mean of {_count(refit.replicates, 'replicate')}{fewer})."
    yield (
        "The estimate says what to expect of such a training; the refit is one more of them, with "
        "more samples. That its score differs from the estimate does not make it better or worse, "
        "and a refit that is chosen by this score has no fair score any more."
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
