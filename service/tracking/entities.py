"""Metrics, parameters and tags as MLflow accepts them: the one place that changes their texts.

A name that MLflow accepts is kept. In any other one, each character or path segment that MLflow
refuses becomes ``_``, a long name is cut, and ``-`` and eight digits of the name's SHA-256 follow,
so that two names never become the same: ``top@2`` is ``top_2-5e6b2a69``. An accepted name that ends
as such a name does gets digits too.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

from search_spaces.values import Value, write
from service.base.storable import make_storable

MAX_NAME = 250
"""MLflow's limit of a name's length."""
OLDER_VALUE = 250
"""The limit of a value's length in older servers."""
_MAX_TAG = min(5000, MAX_TAG_VAL_LENGTH)  # what older servers take
_REFUSED = re.compile(r"[^/\w.\- :]")
_LEADING_DOTS = re.compile(r"^\.+")
_HASHED = re.compile(r"-[0-9a-f]{8}$")
_CUT = "…"


def make_name(name: str) -> str:
    """A name that MLflow accepts; equal only for equal names."""
    kept = _REFUSED.sub("_", make_text(name))
    if kept == name and len(name) <= MAX_NAME and _is_path(name) and not _HASHED.search(name):
        return name
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    segments = ["_" if s in ("", ".", "..") else s for s in kept.split("/")]
    segments[0] = _LEADING_DOTS.sub("_", segments[0])
    return "/".join(segments)[: MAX_NAME - 9].rstrip("/") + f"-{digits}"


def make_text(text: str, limit: int | None = None) -> str:
    """A text that databases and HTTP take: no NUL, no lone surrogates, at most ``limit`` long."""
    safe = make_storable(text)
    return safe if limit is None or len(safe) <= limit else safe[: limit - len(_CUT)] + _CUT


def make_metrics(values: Mapping[str, float], when: int, step: int) -> list[Metric]:
    """Metrics of one time, in Unix milliseconds, and of one step."""
    return [Metric(make_name(k), float(v), when, step) for k, v in values.items()]


def make_params(values: Mapping[str, Value]) -> list[Param]:
    """Parameters, their values cut to MLflow's limit."""
    return [
        Param(make_name(k), make_text(write(v), MAX_PARAM_VAL_LENGTH)) for k, v in values.items()
    ]


def make_tags(values: Mapping[str, str]) -> list[RunTag]:
    """Tags that are not empty, their values cut to MLflow's limit."""
    return [RunTag(make_name(k), make_text(v, _MAX_TAG)) for k, v in values.items() if v]


def make_tag_texts(values: Mapping[str, str]) -> dict[str, str]:
    """The same as a mapping, as a new run takes them."""
    return {tag.key: tag.value for tag in make_tags(values)}


def shorten(entity: Metric | Param | RunTag) -> Param | RunTag | None:
    """The entity with the value that an older server takes; None if it has no longer one."""
    if isinstance(entity, Metric) or len(entity.value) <= OLDER_VALUE:
        return None
    return type(entity)(entity.key, make_text(entity.value, OLDER_VALUE))


def describe(entities: Iterable[Metric | Param | RunTag]) -> str:
    """Entities by kind and name, for a report of what was refused."""
    return ", ".join(f"{_KINDS[type(e)]} {e.key}" for e in entities)


_KINDS: dict[type, str] = {Metric: "metric", Param: "parameter", RunTag: "tag"}


def _is_path(name: str) -> bool:
    """Whether the name, read as a relative path, is its shortest form."""
    shortest = posixpath.normpath(name)
    return shortest == name and name != "." and not name.startswith(("..", "/"))
