"""Measure what the method ``brief`` saves, and what it reaches of ``fast``.

    python training/measure_brief.py --full-size SD --works samples/harbour.png
    python training/measure_brief.py --encoder taef2.safetensors --works art/*/01.png

The first command is about time: it cloaks with an encoder of full size whose weights are random.
The second is about reach, with an encoder that has learned from pictures.  Both print the
processor's seconds by both methods (whole cloaks, measures included), the shift and the change of
structure that foretells the effect, as means over the works so far, and the ratios of their sums,
with 95% intervals by resampling works.  Pictures are scaled to ``--side`` px.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.evaluation.speed import FULL_SIZE, random_kl
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.images import shrink, to_grid
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.transfer import load_style_transfer

STYLE = 21  # of the built-in ones
COLUMNS = ("seconds", "shift", "structure changed", "PSNR")
DRAWS = 2000


def tell(rows: dict[str, list[tuple[float, ...]]]) -> None:
    """The table of all works so far."""
    fast, brief = (np.array(rows[method]) for method in ("fast", "brief"))
    print(f"\n{len(fast)} works\n\n| | {' | '.join(COLUMNS)} |\n|---|---|---|---|---|")
    for name, seen in (("fast", fast), ("brief", brief)):
        print(f"| {name} | {' | '.join(f'{value:.3g}' for value in seen.mean(axis=0))} |")
    picked = np.random.default_rng(0).integers(len(fast), size=(DRAWS, len(fast)))
    drawn = brief[picked].sum(axis=1) / fast[picked].sum(axis=1)
    ratio = brief.sum(axis=0) / fast.sum(axis=0)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    cells = [f"{r:.2f} [{a:.2f}, {b:.2f}]" for r, a, b in zip(ratio, low, high, strict=True)]
    print(f"| brief, of fast | {' | '.join(cells[:3])} | |", flush=True)


def main() -> None:
    """Cloak by both methods, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--full-size", choices=FULL_SIZE, help="random weights, in its place")
    parser.add_argument("--works", type=Path, nargs="+", required=True, help="pictures")
    parser.add_argument("--side", type=int, default=512, help="short side, in pixels")
    parser.add_argument("--preset", choices=PRESETS, default="default")
    parser.add_argument("--objective", default="beyond")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.full_size:
        encoder = random_kl(options.full_size, torch.device("cpu"))
    else:
        encoder = load_encoder(options.encoder)
    metric, omega = load_metric("auto"), load_style_transfer("embedded")
    rows: dict[str, list[tuple[float, ...]]] = {"fast": [], "brief": []}
    for path in options.works:
        original = to_grid(shrink(load_artwork(path).pixels, options.side).clamp(0, 1))
        styled = to_grid(omega(original, builtin_styles()[STYLE]))
        for method, seen in rows.items():
            settings = CloakSettings(method, objective=options.objective)
            budget, started = PRESETS[options.preset], time.process_time()
            cloak = optimize_cloak(original, styled, encoder, budget, settings, metric=metric)
            measures, took = cloak.measures[0], time.process_time() - started
            seen.append((took, measures.shift_512, measures.changed, measures.psnr or 0.0))
        tell(rows)


if __name__ == "__main__":
    main()
