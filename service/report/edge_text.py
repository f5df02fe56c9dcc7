"""What a report says of best values at the edge of their ranges."""

from __future__ import annotations

from search_spaces.widening import show_bound
from service.report.formatting import format_value
from service.sweep.range_edges import SHARE, Edge, EdgeWarning

EDGES_TITLE = "Best values at the edge of their ranges"
SEARCH_ON = "Better values may lie beyond. To search there as well, here or on a server:"
_PERCENT = f"{100 * SHARE:g} %"


def write_edge(edge: Edge) -> str:
    """One parameter of the pick in a sentence."""
    end = "upper" if edge.end == "high" else "lower"
    value = format_value(edge.value)
    computed = " computed" if edge.computed else ""
    found = (
        f"{edge.dimension} = {value} is within {_PERCENT} of the {end} end of its{computed} "
        f"range, {show_bound(edge.low)} to {show_bound(edge.high)}."
    )
    return f"{found} {_MEANINGS[edge.end]}" if edge.computed else found


_MEANINGS = {
    "low": (
        "At that end it hardly acts, and below it would act still less: it is as good as none "
        "here, and no wider range is needed."
    ),
    "high": (
        "At that end the network was expected to predict no better than a constant. Unless the "
        "pick does no better than that either, short probes have judged the strength wrongly."
    ),
}


def write_warning(warning: EdgeWarning) -> str:
    """The whole warning as one paragraph."""
    edges = " ".join(map(write_edge, warning.edges))
    if warning.resume is None:
        return edges
    return f"{edges} {SEARCH_ON} {warning.resume} or {warning.extend}"
