"""An export of any network gives its outputs in a process that knows nothing of us."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.export_networks import FEATURES, NETWORKS
from tests.exported import SOURCE, subject_of
from trainables.analysis import export
from trainables.analysis.export import Origin, export_network, verify_exports
from trainables.analysis.program import Format

UNTRACED = ("control flow by values", "packed sequences")


def read_card(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return read


def test_a_new_process_gets_the_outputs_of_every_network_that_can_be_rebuilt(
    tmp_path: Path,
) -> None:
    subjects = {name: subject_of(name) for name in NETWORKS}
    folders = {name: tmp_path / str(number) for number, name in enumerate(NETWORKS)}
    reasons = {
        name: export_network(subject, folders[name], verify=False).reason
        for name, subject in subjects.items()
    }
    lost = replace(subjects["packed sequences"], origin=Origin("no_such_module:Net", {}))
    export_network(lost, tmp_path / "lost", verify=False)
    cases = [*((subjects[name], folders[name]) for name in NETWORKS), (lost, tmp_path / "lost")]
    *verified, of_lost = verify_exports(cases)
    assert "no_such_module" in of_lost
    assert dict(zip(NETWORKS, verified, strict=True)) == dict.fromkeys(NETWORKS, "")
    assert {name for name, reason in reasons.items() if reason} == set(UNTRACED)
    for name, folder in folders.items():
        card = read_card(folder)
        assert (card["program"] is None) == (name in UNTRACED)
        assert (folder / "code" / SOURCE.name).exists() == (name in UNTRACED)
        assert card["input"].get("batch") == (12 if name == "one number of samples" else None)


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
