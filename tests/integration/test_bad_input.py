"""Bad input is a sentence on stderr and exit code 2; nothing is created."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.commands import DIGITS, LOCAL, gapsweep, settings

CASES = {
    "unknown key": (("training.optimzer=adam",), "did you mean 'optimizer'?"),
    "unread name": (("space.dropuot={float: [0, 0.5]}",), "did you mean 'dropout'?"),
    "class": (("trainable=trainables.models:MPL", LOCAL), "did you mean 'MLP'?"),
    "module": (("data=nowhere:splits", LOCAL), "there is no module 'nowhere'"),
    "no gpu": (("resources.gpus=1",), "resources.gpus"),  # the only one that a Ray starts for
    "metric": (("objective.metric=val/los", LOCAL), "did you mean 'val/loss'?"),
    "inverted": (("space.dropout={float: [0.5, 0.1]}",), "inverted"),
    "log zero": (("space.lambda={float: [0, 1], log: true}",), "must be above 0, got 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_spec_that_cannot_run(case: str, tmp_path: Path) -> None:
    changes, words = CASES[case]
    done = gapsweep("run", str(DIGITS), "--home", str(tmp_path / "home"), *settings(*changes))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "sweeps").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,y\n1,0\n2,1\n,0\n4,1\n5,0\n6,1\n7,0\n8,1\n9,0\n1,1\n", "row 2, column 'a' is missing"),
        ("a,y\n" + "1,0\n" * 20, "only one class"),
        ("a,y\n1,0\n2,1\n", "too few"),
        ("a,z\n1,0\n2,1\n", "no column 'y'"),
    ],
)
def test_data_that_cannot_be_trained_on(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(text)
    spec = tmp_path / "spec.yaml"
    data = {"name": "csv", "path": "data.csv", "target": "y"}
    raw = {"name": "mine", "trainable": "trainables.models:MLP", "data": data}
    spec.write_text(yaml.safe_dump({**raw, "space": {"preset": "dropout"}}))
    done = gapsweep("validate", str(spec))
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_files_homes_and_sweeps_that_are_not_there(tmp_path: Path) -> None:
    missing = gapsweep("run", "nowhere.yaml")
    assert (missing.returncode, "no such file" in missing.stderr) == (2, True)
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    malformed = gapsweep("validate", str(broken))
    assert (malformed.returncode, "line 1" in malformed.stderr) == (2, True)
    (tmp_path / "file").write_text("")
    below = ("--home", str(tmp_path / "file" / "home"))
    unwritable = gapsweep("run", str(DIGITS), *below, *settings(LOCAL))
    assert (unwritable.returncode, "cannot be written" in unwritable.stderr) == (2, True)
    unknown = gapsweep("resume", "nothing", "--home", str(tmp_path))
    assert (unknown.returncode, "no sweep 'nothing'" in unknown.stderr) == (2, True)


def test_the_ready_sweeps_meet_the_schema_that_editors_use() -> None:
    schema = json.loads(gapsweep("schema").stdout)
    for path in sorted(DIGITS.parent.glob("*.yaml")):
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "tranable": "a:b"}, schema)
