"""Models for tables ``(features,)``, for classification and regression alike."""

from __future__ import annotations

from trainables.vision import MLP

__all__ = ["MLP"]
