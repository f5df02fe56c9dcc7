"""The calls of MLflow's HTTP API that a server of ours answers, and the right that each takes.

A call that is not listed is refused: MLflow also calls other hosts (webhooks, gateways), runs jobs,
and reads places that a client names. A version of a registered model names such a place, which the
guard checks: it must be that of a logged model, in the server's own folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Right(IntEnum):
    """What a caller may do; each includes the ones before it."""

    READ = 1
    WRITE = 2
    DELETE = 3


ROLES = {
    "viewer": Right.READ,
    "user": Right.WRITE,
    "sweep": Right.WRITE,
    "admin": Right.DELETE,
    "service": Right.DELETE,
}
"""The right of each role that the API names."""


@dataclass(frozen=True)
class Rule:
    """Calls that take one right."""

    methods: frozenset[str]
    path: re.Pattern[str]
    right: Right


_GET = ("GET", "HEAD")
_API = r"/(?:ajax-)?api/[23]\.0/mlflow/"
_ARTIFACTS = r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts"
_ID = r"[^/]+"


def _rules(right: Right, methods: Iterable[str], *paths: str, prefix: str = "") -> tuple[Rule, ...]:
    found = frozenset(methods)
    return tuple(Rule(found, re.compile(prefix + path), right) for path in paths)


_RULES = (
    *_rules(
        Right.READ,
        _GET,
        r"/",
        r"/version",
        r"/favicon\.ico",
        r"/static-files/.+",
        r"/get-artifact",
        rf"{_ARTIFACTS}(?:/.+)?",
    ),
    *_rules(Right.READ, ["POST"], r"/graphql"),
    *_rules(
        Right.READ,
        _GET,
        "experiments/(?:get|get-by-name|search)",
        "runs/get",
        "metrics/(?:get-history|get-history-bulk|get-history-bulk-interval)",
        "artifacts/list",
        "registered-models/(?:get|search|get-latest-versions|alias)",
        "model-versions/(?:get|search|get-download-uri)",
        rf"logged-models/{_ID}(?:/artifacts/directories)?",
        "scorers/list",
        "server-info",
        "ui-telemetry",
        prefix=_API,
    ),
    *_rules(
        Right.READ,
        ["POST"],
        "experiments/(?:search|search-datasets)",
        "runs/search",
        "logged-models/search",
        "traces/(?:search|metrics)",
        "datasets/search",
        prefix=_API,
    ),
    *_rules(
        Right.WRITE,
        ["POST"],
        "experiments/(?:create|restore|set-experiment-tag|delete-experiment-tag)",
        "runs/(?:create|update|restore|set-tag|delete-tag)",
        "runs/(?:log-batch|log-metric|log-parameter|log-inputs)",
        "registered-models/(?:create|get-latest-versions|set-tag)",
        "model-versions/(?:create|set-tag)",
        rf"logged-models(?:/{_ID}/params)?",
        prefix=_API,
    ),
    *_rules(Right.WRITE, ["PATCH"], rf"logged-models/{_ID}(?:/tags)?", prefix=_API),
    *_rules(Right.WRITE, ["PATCH"], "(?:registered-models|model-versions)/update", prefix=_API),
    *_rules(Right.WRITE, ["PUT"], rf"{_ARTIFACTS}/.+"),
    *_rules(Right.DELETE, ["POST"], "experiments/(?:delete|update)", "runs/delete", prefix=_API),
    *_rules(Right.DELETE, ["DELETE"], rf"{_ARTIFACTS}/.+"),
    *_rules(
        Right.DELETE,
        ["DELETE"],
        "(?:registered-models|model-versions)/(?:delete|delete-tag)",
        rf"logged-models/{_ID}",
        prefix=_API,
    ),
)


def find_right(method: str, path: str) -> Right | None:
    """The right that a call takes; None if the server does not answer it."""
    return next((r.right for r in _RULES if method in r.methods and r.path.fullmatch(path)), None)


def creates_version(path: str) -> bool:
    """Whether the call creates a version of a registered model, and names its place."""
    return path.endswith("/model-versions/create")


def creates_experiment(path: str) -> bool:
    """Whether the call creates an experiment, and can name the place of its artifacts."""
    return path.endswith("/experiments/create")
