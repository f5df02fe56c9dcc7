"""The ``type`` of problem documents: a stable URI for each class of errors, and back."""

from __future__ import annotations

from service.base.errors import GapsweepError, map_codes

_PREFIX = "urn:problem-type:gapsweep:"


def get_type(kind: type[GapsweepError]) -> str:
    """The URI of a class of errors."""
    return _PREFIX + kind.code


def find_class(type_uri: str) -> type[GapsweepError] | None:
    """The class of errors behind a URI; None for ``about:blank`` and codes of other versions."""
    if not type_uri.startswith(_PREFIX):
        return None
    return map_codes().get(type_uri.removeprefix(_PREFIX))
