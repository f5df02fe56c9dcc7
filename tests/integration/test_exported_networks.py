"""An export of any network gives its outputs in a process that knows nothing of us."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.export_networks import NETWORKS
from tests.exported import SOURCE, subject_of
from trainables.analysis.export import Origin, export_network, verify_exports

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
