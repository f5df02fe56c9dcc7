"""The README's examples run as they stand there, and its spec is a spec."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from service.spec.file import parse_spec
from tests.commands import LOCAL, REPOSITORY, gapsweep, settings

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SMALL = settings("budget.trials=3", "training.max_epochs=2", "search.pruner=none")


def blocks(language: str, after: str = "") -> list[str]:
    text = README[README.index(after) :]
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def swept(folder: Path) -> dict[str, int]:
    home = ("--home", str(folder / "home"), "--json")
    words = (str(folder / "spec.yaml"), *home, *LOCAL, *SMALL)
    done = gapsweep("run", *words)
    assert done.returncode == 0, done.stderr
    counts: dict[str, int] = json.loads(done.stdout)["trials"]
    return counts


def test_the_spec_by_example_is_the_demos() -> None:
    raw = yaml.safe_load(blocks("yaml", "## A spec")[0])
    spec = parse_spec(raw, "README", Path())
    demo = yaml.safe_load((REPOSITORY / "search_spaces/sweeps/digits.yaml").read_text())
    assert spec.space == parse_spec(demo, "digits", Path()).space


def test_the_residual_network(tmp_path: Path) -> None:
    (tmp_path / "resnet.py").write_text(blocks("python", "<!-- example: resnet -->")[0])
    (tmp_path / "spec.yaml").write_text(blocks("yaml", "<!-- example: resnet -->")[0])
    assert swept(tmp_path) == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}


def test_the_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.uniform(20, 200, 200), "town": rng.choice(["a", "b"], 200)})
    frame["price"] = 3000 * frame["size"] + 50000 * (frame.town == "b")
    frame.to_csv(tmp_path / "homes.csv", index=False)
    (tmp_path / "spec.yaml").write_text(blocks("yaml", "<!-- example: table -->")[0])
    validated = gapsweep("validate", str(tmp_path / "spec.yaml"))
    assert validated.returncode == 0, validated.stderr
    assert "regression" in validated.stdout
    assert swept(tmp_path) == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
