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
def test_three_epochs_of_small_batches_on_a_sixth_of_it_are_well_on_the_way() -> None:
    spec = load_spec(SPEC, ["training.max_epochs=3", "training.batch_size=64"])
    whole = load(spec.data)
    assert (len(whole.train), len(whole.val)) == (54000, 6000)
    assert whole.test is not None
    assert len(whole.test) == 10000
    part = Split(whole.train.x[:9000], whole.train.y[:9000])
    few = Split(whole.val.x[:1000], whole.val.y[:1000])
    test = Split(whole.test.x[:2500], whole.test.y[:2500])
    splits = Splits(part, few, test, whole.info, whole.preprocessing)
    (point,) = yaml.safe_load(Path(SPEC).read_text(encoding="utf-8"))["search"]["enqueue"]
    run = build_run(spec, point, splits, baseline=False, device="cpu")
    *_, last = train(run)
    assert last.done
    found = measure_held_out(run, splits, run.best_state).metrics
    assert found["test/accuracy"] >= 0.85
    assert found["test_gap/accuracy"] < 0.05
