"""Fixtures that tests of several folders share."""

from tests.integration.conftest import ran

__all__ = ["ran"]
