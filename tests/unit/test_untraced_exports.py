"""What is written of a network that cannot be traced, or only for one number of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.export_networks import FEATURES
from tests.exported import subject_of
from trainables.analysis import export
from trainables.analysis.export import export_network
from trainables.analysis.program import Format


def test_a_trace_that_has_fixed_a_branch_is_not_kept(tmp_path: Path) -> None:
    form: Format = "torchscript"
    written = export_network(subject_of("control flow by values"), tmp_path, form, verify=False)
    assert "would not be the network's" in written.reason
    assert not (tmp_path / "model.ts").exists()


def test_files_of_an_earlier_export_do_not_stay(tmp_path: Path) -> None:
    export_network(subject_of("layers"), tmp_path, verify=False)
    (tmp_path / "mine.txt").write_text("kept")
    export_network(subject_of("packed sequences"), tmp_path, verify=False)
    names = {p.name for p in tmp_path.iterdir()}
    code = {"rebuild.py", "preprocessing.py", "code"}
    assert names == {"weights.safetensors", "model.json", "example.npz", "mine.txt", *code}


def test_what_a_new_process_says_is_told_beside_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "verify_exports", lambda cases: ["it cannot load it"] * len(cases))
    written = export_network(subject_of("packed sequences"), tmp_path)
    assert written.unverified == "it cannot load it"
    assert (tmp_path / "weights.safetensors").exists()


def test_a_program_of_one_size_takes_any_number_of_samples_through_the_loader(
    tmp_path: Path,
) -> None:
    from trainables.analysis.rebuild import load

    subject = subject_of("one number of samples")
    export_network(subject, tmp_path, verify=False)
    x = torch.randn(29, FEATURES)
    with torch.no_grad():
        expected: Any = subject.network(x)
    torch.testing.assert_close(torch.from_numpy(load(tmp_path)(x)), expected)
