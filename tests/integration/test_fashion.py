"""The ready sweep's CNN on Fashion-MNIST, for a short while; the whole is a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from service.spec.file import load_spec
from tests.commands import REPOSITORY
from trainables.analysis.held_out import measure_held_out
from trainables.build import build_run
from trainables.config.data import FASHION_MNIST
from trainables.data.datasets import load
from trainables.data.splits import Split, Splits
from trainables.loop import train

SPEC = REPOSITORY / "search_spaces" / "sweeps" / "fashion.yaml"


@pytest.mark.skipif(
    not FASHION_MNIST.is_dir(), reason=f"Fashion-MNIST's files are not in {FASHION_MNIST}"
)
def test_four_epochs_on_a_quarter_of_it_are_well_on_the_way() -> None:
    spec = load_spec(SPEC, ["training.max_epochs=4"])
    whole = load(spec.data)
    assert (len(whole.train), len(whole.val)) == (54000, 6000)
    assert whole.test is not None
    assert len(whole.test) == 10000
    part = Split(whole.train.x[:13500], whole.train.y[:13500])
    few = Split(whole.val.x[:1500], whole.val.y[:1500])
    splits = Splits(part, few, whole.test, whole.info, whole.preprocessing)
    (point,) = yaml.safe_load(Path(SPEC).read_text(encoding="utf-8"))["search"]["enqueue"]
    run = build_run(spec, point, splits, baseline=False, device="cpu")
    *_, last = train(run)
    assert last.done
    found = measure_held_out(run, splits, run.best_state).metrics
    assert found["test/accuracy"] >= 0.85
    assert found["test_gap/accuracy"] < 0.05
