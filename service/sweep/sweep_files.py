"""How large the files of a sweep's folder may be where they are read.

A server reads the folders of all its users, on threads that it shares, and therefore less of each
than a person reads of an own sweep.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

KIB, MIB, GIB = 2**10, 2**20, 2**30
Limits = Mapping[str, int]
"""Bytes by the name of a file; ``""`` is for all other names."""

OWN_LIMITS: Limits = MappingProxyType(
    {
        "driver.json": 64 * KIB,
        "format": KIB,
        "import_paths": MIB,
        "code.json": 16 * MIB,
        "card.json": MIB,
        "lock": KIB,
        "spec.yaml": 4 * MIB,
        "fingerprints.json": 64 * MIB,
        "summary.json": 64 * MIB,
        "report.html": 64 * MIB,
        "study.journal": 2 * GIB,
        "history.jsonl": 4 * GIB,
        "": 64 * GIB,
    }
)
"""Of sweeps on this machine, for whoever may read them."""

SERVER_LIMITS: Limits = MappingProxyType(
    {
        **OWN_LIMITS,
        "spec.yaml": MIB,
        "fingerprints.json": 8 * MIB,
        "summary.json": 8 * MIB,
        "report.html": 32 * MIB,
        "study.journal": 64 * MIB,
        "history.jsonl": 64 * MIB,
        "driver.log": 4 * GIB,
    }
)
"""Of sweeps that an API reads for any user who may see them."""
