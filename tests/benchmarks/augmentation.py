"""What the augmentation of a batch costs, against kornia's, which earlier versions used.

    python -m tests.benchmarks.augmentation

CPU time on one thread, both in turns; batches of 64 images of 8 × 8 and of 128 of 28 × 28 pixels.
With `--imports` it says what a process takes to import kornia, which only policies still need.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import kornia.augmentation as kornia
import torch
from torch import Tensor, nn

from trainables.config.data_info import Kind
from trainables.regularisers.augmentation import OWN
from trainables.regularisers.input_changes import AtStrength, InputChange
from trainables.regularisers.pixels import Erasing

STRENGTH = 0.7
AIMS = {8: 5.0, 28: 1.5}
BATCHES = {8: 64, 28: 128}
OURS: Mapping[str, InputChange] = {**OWN[Kind.IMAGE], "erasing": Erasing()}
IMPORT = "import time, torch; s = time.perf_counter(); {}; print(time.perf_counter() - s)"


def build_kornias(side: int, strength: float = STRENGTH) -> dict[str, nn.Module]:
    """What each augmentation was, for images of ``side`` × ``side`` pixels."""
    share, padding = 0.15 * strength, math.ceil(0.25 * strength * side)
    crop = kornia.RandomCrop((side, side), padding=(padding, padding))
    return {
        "shift": kornia.RandomAffine(0.0, translate=(0.25 * strength, 0.25 * strength), p=1.0),
        "affine": kornia.RandomAffine(
            degrees=30.0 * strength,
            translate=(share, share),
            scale=(1 - 0.25 * strength, 1 + 0.25 * strength),
            shear=15.0 * strength,
            p=1.0,
        ),
        "crop_flip": nn.Sequential(crop, kornia.RandomHorizontalFlip(p=0.5)),
        "noise": kornia.RandomGaussianNoise(std=0.3 * strength, p=1.0),
        "erasing": kornia.RandomErasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), p=strength),
    }


def measure(augment: Callable[[Tensor], Tensor], x: Tensor, calls: int) -> float:
    """CPU milliseconds of one call."""
    start = time.process_time()
    for _ in range(calls):
        augment(x)
    return (time.process_time() - start) / calls * 1e3


def compare(side: int, rounds: int, calls: int) -> list[float]:
    """Print a line for each augmentation; the ratios."""
    x, ratios = torch.rand(BATCHES[side], 1, side, side), []
    for name, theirs in build_kornias(side).items():
        ours = AtStrength(OURS[name], STRENGTH)
        measure(ours, x, 10), measure(theirs, x, 10)
        pairs = [(measure(theirs, x, calls), measure(ours, x, calls)) for _ in range(rounds)]
        ratio = statistics.median(a / b for a, b in pairs)
        before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{side} × {side} {name}: {before:.3f} to {after:.3f} ms, {ratio:.1f} ×", flush=True)
        ratios.append(ratio)
    return ratios


def time_import(words: str) -> float:
    """Seconds of an import in a process that has torch."""
    command = [sys.executable, "-c", IMPORT.format(words)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def main() -> None:
    """Every augmentation at both sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for side, aim in AIMS.items():
        ratios = compare(side, options.rounds, options.calls)
        mean = statistics.geometric_mean(ratios)
        words = "met" if mean >= aim else "missed"
        print(f"{side} × {side}: {mean:.1f} × in the geometric mean, aim {aim:g} ×: {words}")
    if options.imports:
        seconds = statistics.median(time_import("import kornia.augmentation") for _ in range(5))
        print(f"importing kornia.augmentation after torch: {seconds:.2f} s")


if __name__ == "__main__":
    main()
