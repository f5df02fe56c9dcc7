"""What a report says of best values at the edge of their ranges."""

from __future__ import annotations

from search_spaces.widening import show_bound
from service.report.formatting import format_value
from service.sweep.edges import SHARE, Edge, EdgeWarning

EDGES_TITLE = "Best values at the edge of their ranges"
SEARCH_ON = "Better values may lie beyond. To search there as well, here or on a server:"
_PERCENT = f"{100 * SHARE:g} %"


def write_edge(edge: Edge) -> str:
    """One parameter of the pick in a sentence."""
    end = "upper" if edge.end == "high" else "lower"
    value = format_value(edge.value)
    return (
        f"{edge.dimension} = {value} lies within {_PERCENT} of the {end} end of its range, "
        f"{show_bound(edge.low)} to {show_bound(edge.high)}."
    )


def write_warning(warning: EdgeWarning) -> str:
    """The whole warning as one paragraph."""
    edges = " ".join(map(write_edge, warning.edges))
    return f"{edges} {SEARCH_ON} {warning.resume} or {warning.extend}"
