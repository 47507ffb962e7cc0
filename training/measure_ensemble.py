"""Measure what a cloak for several encoders costs, and how far it leads each of them.

    python training/measure_ensemble.py --autoencoder taef2.safetensors

cloaks crops of the bundled samples, within the preset ``default``, on each of four encoders alone
(see ``training/measure_transfer.py``), on the embedded one and taef2 together, and on all four with
more and more steps.  It prints, as means over the pictures, the processor's time in units of the
members' mean time alone, and the shift that each encoder sees beside its share of what the cloak on
it alone reaches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from measure_transfer import pictures, random_encoders
from real_art.autoencoder import load_autoencoder
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import load_metric

STEPS = (16, 24, 33, 48)  # of all four; 16 are those of one encoder, 33 their own number
Pair = tuple[Tensor, Tensor]


def cloak_all(
    encoder: Encoder, pairs: Sequence[Pair], steps: int = 0
) -> tuple[float, dict[str, float]]:
    """The processor's seconds, and the mean shift that each encoder sees."""
    budget, settings = PRESETS["default"], CloakSettings(steps=steps)
    metric = load_metric(budget.metric)
    started, seen = time.process_time(), []
    for original, styled in pairs:
        cloak = optimize_cloak(original, styled, encoder, budget, settings, metric=metric)
        (measures,) = cloak.measures
        of_each = {one.name: one.shift_512 for one in measures.encoders}
        seen.append(of_each or {encoder.name: measures.shift_512})
    seconds = time.process_time() - started
    return seconds, {name: statistics.fmean(one[name] for one in seen) for name in seen[0]}


def main() -> None:
    """Cloak, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--autoencoder", type=Path, required=True, help="taef2, both halves")
    parser.add_argument("--side", type=int, default=256, help="of the crops, in pixels")
    options = parser.parse_args()
    pairs = list(pictures(options.side))
    encoders = [
        load_encoder("embedded"),
        load_autoencoder(options.autoencoder).as_encoder(),
        *random_encoders().values(),
    ]
    alone = {encoder.name: cloak_all(encoder, pairs) for encoder in encoders}
    print("| encoders | steps | time | " + " | ".join(alone) + " |")
    print("|---" * (3 + len(alone)) + "|")
    reached = {name: shifts[name] for name, (_, shifts) in alone.items()}
    cells = " | ".join(f"{shift:.2f}" for shift in reached.values())
    print(f"| each alone | 16 | 1 | {cells} |", flush=True)
    for count, steps in ((2, 0), *((4, steps) for steps in STEPS)):
        members = encoders[:count]
        seconds, shifts = cloak_all(combine_encoders(members, [1] * count), pairs, steps)
        usual = statistics.fmean(alone[encoder.name][0] for encoder in members)
        cells = " | ".join(
            f"{shifts[name]:.2f} ({shifts[name] / reached[name]:.0%})" if name in shifts else "–"
            for name in reached
        )
        print(f"| {count} | {steps or 'usual'} | {seconds / usual:.2f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
