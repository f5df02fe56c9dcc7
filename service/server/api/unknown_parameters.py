"""Refuses parameters of a query that a route does not take: they would be ignored silently."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from search_spaces.unknown_names import did_you_mean
from service.base.errors import Problem, RequestError
from service.server.api.dependencies import TheCaller

_MOST = 10


def refuse_unknown(request: Request, _caller: TheCaller) -> None:
    """Check the names in the query; whoever asks has been authenticated.

    Raises:
        RequestError: the route does not take one.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    valid = sorted(set(_list_names(route.dependant)))
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in valid]
    if unknown:
        known = ", ".join(valid) or "none"
        problems = [
            Problem(
                f"query.{name}", f"unknown parameter{did_you_mean(name, valid)}; valid: {known}"
            )
            for name in unknown[:_MOST]
        ]
        raise RequestError("the request", problems)


def _list_names(dependant: Dependant) -> Iterator[str]:
    """The names of the query's parameters, of what a route depends on too."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _list_names(inner)
