"""The audit of a pruner in words; the numbers are in the answer as data."""

from __future__ import annotations

from collections.abc import Iterator

from service.base.number_format import MISSING, number
from service.report.formatting import format_share
from service.sweep.answer import Audit, AuditGroup

AUDIT_COLUMNS = (
    *("regularised", "pruned", "audited", "better", "of all pruned", "95 % interval", "regret"),
)


def list_audit_rows(audit: Audit) -> Iterator[tuple[str, ...]]:
    """The cells of each group, in the order of :data:`AUDIT_COLUMNS`."""
    groups = {"all": audit.overall, "strongly": audit.strong, "weakly": audit.weak}
    for name, group in groups.items():
        failed = f" ({group.failed} failed)" if group.failed else ""
        yield (
            name,
            str(group.pruned),
            f"{group.audited}{failed}",
            str(group.better),
            format_share(group.share),
            _write_interval(group),
            MISSING if group.regret is None else number(group.regret),
        )


def _write_interval(group: AuditGroup) -> str:
    if group.interval is None:
        return MISSING
    low, high = group.interval
    return f"{format_share(low)} to {format_share(high)}"


def write_audit(audit: Audit) -> str:
    """What pruning cost the search."""
    whole = audit.overall
    if not whole.pruned:
        return "The pruner ended no trial, so that pruning cost the search nothing."
    if not whole.audited:
        return f"None of the {whole.pruned} pruned trials was trained to its end."
    trained = f"{whole.audited} of {whole.pruned} pruned trials were trained to their end"
    against = f"the search's best (trial {audit.best})"
    if not audit.better:
        return f"{trained}; none is better than {against}. {_write_bound(whole)}"
    named = ", ".join(
        f"trial {found.pruned} (again as trial {found.trial}: {audit.metric} {number(found.value)})"
        for found in audit.better
    )
    return (
        f"{trained}; better than {against}, by one training each: {named}. The regret is at least "
        f"{number(whole.regret)} in {audit.metric}. {_write_bound(whole)} A better one takes part "
        "as if it had not been pruned: it may be the best trial, a finalist and the pick."
    )


def _write_bound(group: AuditGroup) -> str:
    if group.interval is None:
        return ""
    return f"Of all pruned trials, {_write_interval(group)} would have been (95 % interval)."
