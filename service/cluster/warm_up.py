"""Prepares a process for its first trial, while the sweep is examined elsewhere."""

from __future__ import annotations

from contextlib import suppress

from service.base.collection import collect_later


def import_training() -> None:
    """Import torch, Tune and the training; nothing of a user's."""
    with suppress(Exception), collect_later():  # the first trial imports them again, and says why
        import service.cluster.slot_actor  # noqa: F401 - imported for its effect
