"""Data larger than memory: 4,000 JPEG files, read while they are needed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

FILES, SIZE = 4_000, 64
LIMIT = 120 * 2**20
"""Bytes that a training may take beyond what the imports took; all images take 197 MB."""

MODULE = """
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

FILES = sorted(Path(__file__).parent.glob("images/*/*.jpg"))


class Files(torch.utils.data.Dataset):
    def __init__(self, files):
        self.files = files
        self.targets = [int(f.parent.name) for f in files]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with Image.open(self.files[index]) as image:
            pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
        return torch.from_numpy(pixels), self.targets[index]


def splits():
    return {"train": Files(FILES[::2] + FILES[1::4]), "val": Files(FILES[3::4])}


class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.AvgPool2d(16), nn.Flatten(), nn.Dropout(), nn.Linear(48, outputs)
        )

    def forward(self, x):
        return self.layers(x)
"""

PROGRAM = """
import resource
import sys

sys.path.insert(0, sys.argv[1])
import gapsweep
import torch

torch.set_num_threads(1)
gapsweep.run(SPEC)  # everything is imported
used = int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + LIMIT, used + LIMIT))
sweep = gapsweep.run({**SPEC, "data": "photos:splits", "trainable": "photos:Net", "model": {}})
assert [t.state for t in sweep.trials.itertuples()] == ["complete"], sweep.trials
print("done")
"""


def write_images(folder: Path) -> None:
    """Files of two classes, bright and dark ones, with fifty contents in all."""
    rng = np.random.default_rng(0)
    contents = []
    for number in range(50):
        low = 100 * (number % 2)
        pixels = rng.integers(low, low + 100, (SIZE, SIZE, 3)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        contents.append(buffer.getvalue())
    for label in range(2):
        (folder / str(label)).mkdir(parents=True)
    for number in range(FILES):
        (folder / str(number % 2) / f"{number}.jpg").write_bytes(contents[number % 50])


def test_images_that_do_not_fit_in_memory_are_trained_on(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    (tmp_path / "photos.py").write_text(MODULE)
    spec = {
        "name": "photos",
        "data": "breast_cancer",
        "trainable": "trainables.models:MLP",
        "model": {"hidden": [4]},
        "training": {"max_epochs": 1, "batch_size": 64},
        "space": {"dropout": {"float": [0.0, 0.5]}},
        "budget": {"trials": 1},
        "confirm": "off",
        "resources": {"executor": "local", "concurrent": 1},
    }
    done = subprocess.run(
        [sys.executable, "-c", f"SPEC = {spec!r}\nLIMIT = {LIMIT}\n{PROGRAM}", str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "GAPSWEEP_HOME": str(tmp_path / "home"),
            "GAPSWEEP_MLFLOW_URI": "off",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("done\n")
