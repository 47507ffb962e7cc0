"""Measure what a cloak for several encoders costs, and how far it leads each of them.

    python training/measure_ensemble.py --autoencoder taef2.safetensors --works art/*/01.png

cloaks the middle of each work, within the preset ``default``, on each of four encoders alone (see
``training/measure_transfer.py``), on the embedded one and taef2 together, and on all four with more
and more steps.  It prints the processor's time in units of the members' mean time alone, for each
encoder the share of what the cloak on it alone reaches, and the least of these shares.  Times and
shares are ratios of sums over the works; the least share has a 95% interval, by resampling works.
All is printed after each work for those until then.

The turns' weights were chosen on the bundled samples: take other works.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measure_transfer import SAMPLES, pictures, random_encoders
from real_art.autoencoder import load_autoencoder
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import load_metric

STEPS = (16, 24, 33, 48)  # of all four; 16 are those of one encoder, 33 their own number
DRAWS = 2000
Pair = tuple[Tensor, Tensor]
Seen = tuple[float, dict[str, float]]
"""The processor's seconds, and the shift that each encoder sees."""


def cloak(encoder: Encoder, pair: Pair, steps: int = 0) -> Seen:
    """One work."""
    budget, settings = PRESETS["default"], CloakSettings(steps=steps)
    metric = load_metric(budget.metric)
    started = time.process_time()
    made = optimize_cloak(*pair, encoder, budget, settings, metric=metric)
    seconds = time.process_time() - started
    (measures,) = made.measures
    of_each = {one.name: one.shift_512 for one in measures.encoders}
    return seconds, of_each or {encoder.name: measures.shift_512}


def shares(together: Sequence[Seen], alone: dict[str, list[Seen]], picked: Sequence[int]) -> Tensor:
    """Of some works, what each encoder is led, in units of what the cloak on it alone reaches."""
    names = list(together[0][1])
    return torch.tensor(
        [
            sum(together[work][1][name] for work in picked)
            / sum(alone[name][work][1][name] for work in picked)
            for name in names
        ]
    )


def tell(rows: dict[tuple[int, int], list[Seen]], alone: dict[str, list[Seen]]) -> None:
    """The table."""
    print("| encoders | steps | time | " + " | ".join(alone) + " | least |")
    print("|---" * (4 + len(alone)) + "|")
    works = range(len(next(iter(alone.values()))))
    reached = {name: sum(seen[name] for _, seen in own) / len(own) for name, own in alone.items()}
    cells = " | ".join(f"{shift:.2f}" for shift in reached.values())
    print(f"| each alone | 16 | 1 | {cells} | – |")
    drawn = np.random.default_rng(0).integers(len(works), size=(DRAWS, len(works)))
    for (count, steps), seen in rows.items():
        names = list(alone)[:count]
        usual = sum(seconds for name in names for seconds, _ in alone[name]) / count
        of_all = shares(seen, alone, works)
        least = [float(shares(seen, alone, picked).min()) for picked in drawn]
        low, high = np.quantile(least, [0.025, 0.975])
        cells = " | ".join([f"{share:.0%}" for share in of_all] + ["–"] * (len(alone) - count))
        took = sum(seconds for seconds, _ in seen) / usual
        worst = f"{float(of_all.min()):.0%} [{low:.0%}, {high:.0%}]"
        print(f"| {count} | {steps or 'usual'} | {took:.2f} | {cells} | {worst} |", flush=True)


def main() -> None:
    """Cloak, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--autoencoder", type=Path, required=True, help="taef2, both halves")
    parser.add_argument("--works", type=Path, nargs="+", default=SAMPLES, help="pictures")
    parser.add_argument("--side", type=int, default=192, help="of the crops, in pixels")
    options = parser.parse_args()
    encoders = [
        load_encoder("embedded"),
        load_autoencoder(options.autoencoder).as_encoder(),
        *random_encoders().values(),
    ]
    alone: dict[str, list[Seen]] = {encoder.name: [] for encoder in encoders}
    rows: dict[tuple[int, int], list[Seen]] = {(2, 0): [], **{(4, steps): [] for steps in STEPS}}
    together = {count: combine_encoders(encoders[:count], [1] * count) for count in (2, 4)}
    for number, pair in enumerate(pictures(options.works, options.side), 1):
        for encoder in encoders:
            alone[encoder.name].append(cloak(encoder, pair))
        for (count, steps), seen in rows.items():
            seen.append(cloak(together[count], pair, steps))
        print(f"\n{number} works:\n")
        tell(rows, alone)


if __name__ == "__main__":
    main()
