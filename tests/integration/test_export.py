"""What is exported gives the best trial's outputs, in a process that knows nothing of us."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.commands import LOCAL, Ran, gapsweep, settings
from tests.plotless import no_plots
from trainables.data.datasets import Digits, load
from trainables.models import MLP

STRANGER = """
import json, sys, numpy, torch
for line in sys.stdin:
    kind, path, inputs, outputs = json.loads(line)
    x = torch.from_numpy(numpy.load(inputs))
    program = torch.export.load(path).module() if kind == "export" else torch.jit.load(path)
    numpy.save(outputs, program(x).detach().numpy())
    print("saved", flush=True)
"""

Asked = Callable[[str, Path, np.ndarray[Any, Any]], np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    """What a program of a kind makes of inputs, in a process that has torch and NumPy alone."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", STRANGER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as stranger:
        asking, answering = stranger.stdin, stranger.stdout
        assert asking is not None
        assert answering is not None

        def ask(kind: str, program: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            inputs, outputs = program.with_name("x.npy"), program.with_name("y.npy")
            np.save(inputs, x)
            words = [kind, *map(str, (program, inputs, outputs))]
            print(json.dumps(words), file=asking, flush=True)
            assert answering.readline() == "saved\n"
            found: np.ndarray[Any, Any] = np.load(outputs)
            return found

        yield ask


@pytest.mark.parametrize(("kind", "name"), [("export", "model.pt2"), ("torchscript", "model.ts")])
def test_images(ran: Ran, asked: Asked, tmp_path: Path, kind: str, name: str) -> None:
    words = ("--home", str(ran.home), "--to", str(tmp_path), "--format", kind)
    done = gapsweep("export", "latest", *words)
    assert done.returncode == 0, done.stderr
    best = torch.load(ran.home / ran.summary["best"]["checkpoint"], weights_only=True)
    exported = load_file(tmp_path / "weights.safetensors")
    assert exported.keys() == best.keys()
    assert all(torch.equal(exported[n], best[n]) for n in best)
    splits = load(Digits())
    network = MLP([256, 256]).build(splits.info).eval()
    network.load_state_dict(best)
    expected = network(torch.from_numpy(splits.val.x)).detach().numpy()
    got = asked(kind, tmp_path / name, splits.val.x)
    assert np.allclose(got, expected, atol=1e-6)
    card = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert card["preprocessing"]["classes"] == list(range(10))
    assert card["trial"] == ran.summary["best"]["number"]


@pytest.mark.usefixtures("unverified")  # the other process here is asked
def test_a_table_goes_in_raw_and_a_price_comes_out_and_pruning_changes_nothing(
    asked: Asked, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.uniform(20, 200, 300), "town": rng.choice(["a", "b"], 300)})
    frame["price"] = 3000 * frame["size"] + 50000 * (frame.town == "b")
    frame.to_csv(tmp_path / "homes.csv", index=False)
    spec = {
        "name": "homes",
        "trainable": "trainables.models:MLP",
        "data": {"name": "csv", "path": "homes.csv", "target": "price"},
        "model": {"hidden": [32, 32]},
        "training": {"max_epochs": 60, "lr": 0.01, "batch_size": 32},
        "early_stopping": "off",
        "space": {"penalty": {"choice": ["group_lasso"]}, "lambda": {"float": [0.002, 0.004]}},
        "search": {"pruner": "none"},
        "budget": {"trials": 2},
        "confirm": "off",
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    home = ("--home", str(tmp_path / "home"))
    words = (str(tmp_path / "spec.yaml"), *home, *settings(LOCAL))
    with no_plots():
        done = gapsweep("run", *words, env={"GAPSWEEP_MLFLOW_URI": "off"})
    assert done.returncode == 0, done.stderr
    raw = np.stack([frame["size"], frame.town == "b"], 1).astype(np.float32)
    outputs = []
    for to, extra in (("whole", ()), ("small", ("--prune",))):
        done = gapsweep("export", *home, "--to", str(tmp_path / to), *extra)
        assert done.returncode == 0, done.stderr
        outputs.append(asked("export", tmp_path / to / "model.pt2", raw)[:, 0])
    assert "units removed" in done.stdout
    whole, small = outputs
    scale = float(frame.price.std())
    assert np.abs(whole - small).max() <= 1e-6 * scale
    assert np.abs(whole - frame.price).mean() < 0.2 * scale
    sizes = [(tmp_path / to / "weights.safetensors").stat().st_size for to in ("whole", "small")]
    assert sizes[1] < sizes[0]


def test_a_folder_that_cannot_be_written_is_said(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ("--home", str(ran.home), "--to", str(tmp_path / "file" / "x"))
    done = gapsweep("export", "latest", *words)
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True)
