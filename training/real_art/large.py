"""Whether a large picture is guarded as well as a small one: the same works at 1,024 and 4,096 px.

    python -m training.real_art.large --art training/data/art --autoencoder taef2.safetensors \\
        --works rackham/13 denslow/01

The middle square of each work is scaled to 1,024 px, and that to 4,096 px with noise of 1.5 grey
levels, as paper has it; both are cloaked by the preset ``default``.  A line for each work says how
much of the latents' structure changed at both sizes (see :mod:`comfy_glaze.cloaking.effect`), the
ratio of both, and that of the CPU time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.images import LEVELS, from_levels, resize, to_grid
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles.transfer import load_style_transfer

from .autoencoder import load_autoencoder
from .cloaks import target_of
from .collect import middle_square

SMALL, LARGE = 1024, 4096
NOISE = 1.5 / LEVELS


def both_sizes(path: Path) -> tuple[Tensor, Tensor]:
    """A work's middle square (1, 3, SMALL, SMALL), and the same (1, 3, LARGE, LARGE)."""
    picture = Image.open(path).convert("RGB")
    left, top, side = middle_square(picture)
    square = picture.crop((left, top, left + side, top + side)).resize((SMALL, SMALL))
    small = from_levels(np.asarray(square))
    noise = torch.randn(1, 1, LARGE, LARGE, generator=torch.Generator().manual_seed(0)) * NOISE
    return small, to_grid((resize(small, LARGE, LARGE) + noise).clamp(0, 1))


def changed(picture: Tensor, styled: Tensor, encoder: Encoder) -> tuple[float, float]:
    """How much of the structure the preset ``default`` changes, and the seconds of CPU time."""
    started = time.process_time()
    settings = CloakSettings(objective="beyond")
    metric = load_metric("auto", encoder.device)
    cloak = optimize_cloak(picture, styled, encoder, PRESETS["default"], settings, metric=metric)
    return cloak.measures[0].changed, time.process_time() - started


def main() -> None:
    """A line for each work."""
    parser = argparse.ArgumentParser(description="Cloak works at 1,024 and at 4,096 px.")
    parser.add_argument("--art", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--works", nargs="+", required=True, help="as rackham/13")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_autoencoder(options.autoencoder).as_encoder()
    redraw = load_style_transfer("embedded", encoder.device)
    for work in options.works:
        found = []
        for picture in both_sizes(next(options.art.glob(f"{work}.*"))):
            styled = redraw(picture, target_of(work.split("/")[0])).clamp(0, 1)
            found.append(changed(picture, styled, encoder))
        (small, quick), (large, slow) = found
        print(
            f"{work}: {small:.3f} at {SMALL:,} px, {large:.3f} at {LARGE:,} px, "
            f"{large / small:.2f} of it in {slow / quick:.1f} times the CPU time",
            flush=True,
        )


if __name__ == "__main__":
    main()
