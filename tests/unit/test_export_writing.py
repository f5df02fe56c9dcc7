"""What an export says where it cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.base.errors import NotReadyError
from service.run.export_best import _writing


def test_a_reason_that_is_known_is_told_where_the_folder_does_not_exist_yet(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="no weights"), _writing(tmp_path / "export"):
        raise NotReadyError("no weights")
