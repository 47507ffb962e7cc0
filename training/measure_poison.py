"""Measure how far Nightshade leads the bundled artworks to each other, for each cap on a pixel.

    python training/measure_poison.py --caps 8 10 12 14 16

Every bundled artwork, cut to 512 × 512, is led to every other one on the embedded encoder, with the
cloak's usual number of steps and Nightshade's perceptual limit. The script prints the share of the
feature distance that is gone (the shift).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from comfy_glaze.cloaking.budget import NIGHTSHADE
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.images import LEVELS, VIEW_SIZE
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.poison.anchors import fitted

SAMPLES = Path(__file__).parent.parent / "samples"


def main() -> None:
    """One line for each pair, and one for each cap."""
    parser = argparse.ArgumentParser(description="Measure Nightshade on the bundled artworks.")
    parser.add_argument("--caps", type=float, nargs="+", default=[8, 10, 12, 14, 16])
    encoder, metric = load_encoder("embedded"), load_metric(NIGHTSHADE.metric)
    pictures = {
        path.stem: fitted(load_artwork(path).pixels, VIEW_SIZE, VIEW_SIZE)
        for path in sorted(SAMPLES.glob("*.png"))
    }
    print(f"limit {NIGHTSHADE.limit:g} ({metric.name})")
    for cap in parser.parse_args().caps:
        budget, shifts = replace(NIGHTSHADE, linf=cap / LEVELS), []
        for one, other in permutations(pictures, 2):
            images = pictures[one], pictures[other]
            made = optimize_cloak(*images, encoder, budget, CloakSettings(), metric=metric)
            measures = made.measures[0]
            shifts.append(measures.shift_512)
            print(
                f"cap {cap:g}: {one} to {other}: shift {measures.shift_512:.3f}, perceptual "
                f"{measures.perceptual:.4f}, PSNR {measures.psnr:.1f} dB, "
                f"{made.gradients:.0f} gradients",
                flush=True,
            )
        enough = sum(shift >= 0.6 for shift in shifts)
        print(
            f"cap {cap:g}: mean {sum(shifts) / len(shifts):.3f}, least {min(shifts):.3f}, "
            f"{enough} of {len(shifts)} at 0.6 or more",
            flush=True,
        )


if __name__ == "__main__":
    main()
