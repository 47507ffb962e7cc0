"""Measure what a cloak made on one encoder does to encoders that it has never seen.

    python training/measure_transfer.py --autoencoder taef2.safetensors

cloaks crops of the bundled samples towards one built-in style, within the preset ``default``, in
several ways, and prints the mean shift that each of four encoders sees: the embedded one, FLUX.2's
tiny one (see ``training/real_art/convert_autoencoder.py``), and two of random weights, which stand
for encoders that have nothing in common with the first two.  All computes in float32: in bfloat16
the embedded encoder's features are wrong on some processors.

Ways:

* on one encoder, each of the four;
* on the embedded and both random ones together (taef2 is not seen), and on taef2 with both random
  ones (the embedded one is not seen);
* on taef2, other features of it than its latents: the decoded picture and the statistics of
  patches, as in ``training/real_art/objectives.py``;
* a step on taef2's manifold: the difference of two decoded pictures, the styled one's and the
  original's, as large as the budget lets it be, without optimisation;
* noise in place of a cloak, as large as the budget lets it be.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import torch
from real_art.autoencoder import Autoencoder, load_autoencoder
from real_art.objectives import FEATURES
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.measures import Comparison
from comfy_glaze.cloaking.room import Room, largest_inside
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder, encoder_from_module
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import PerceptualMetric, load_metric
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.transfer import load_style_transfer

SAMPLES = Path(__file__).parent.parent / "samples"
STYLE = 21  # of the built-in ones
CPU = torch.device("cpu")


def random_encoders() -> dict[str, Encoder]:
    """A KL and a TAESD-type encoder with random weights, small ones."""
    torch.manual_seed(0)
    kl = diffusers.AutoencoderKL(
        block_out_channels=(32, 64, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    tiny = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4,
        num_encoder_blocks=(1, 2, 2, 2),
        latent_channels=16,
    )
    named = {"random KL": kl, "random tiny": tiny}
    return {name: encoder_from_module(model, name, CPU) for name, model in named.items()}


def ways(autoencoder: Autoencoder, encoders: dict[str, Encoder]) -> Iterator[tuple[str, Encoder]]:
    """The encoders that cloaks are made on, by name."""
    yield from encoders.items()
    null = [encoder for name, encoder in encoders.items() if name.startswith("random")]
    for name in ("embedded", "taef2"):
        yield f"{name} + both random", combine_encoders([encoders[name], *null], [1, 1, 1])
    for name in ("decoded", "patches"):
        features = partial(FEATURES[name], autoencoder)
        yield f"taef2, {name}", replace(encoders["taef2"], name=name, features=features)


@torch.no_grad()
def on_manifold(autoencoder: Autoencoder, original: Tensor, styled: Tensor) -> Tensor:
    """D(Φ(styled)) − D(Φ(original))."""
    before, after = (autoencoder.decode(autoencoder.encode(x)) for x in (original, styled))
    change: Tensor = after - before
    return change


def within(comparison: Comparison, budget: Budget, delta: Tensor) -> Tensor:
    """The original with as much of δ as the budget lets through, on the 8-bit grid."""
    room = Room.of(comparison.original, budget, None)
    cloaked, _ = largest_inside(comparison, room, 8 * delta, budget.limit)
    return cloaked


def pictures(side: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The middle of each sample, (1, 3, side, side), and the same redrawn."""
    redraw, style = load_style_transfer("embedded"), builtin_styles()[STYLE]
    for path in sorted(SAMPLES.glob("*.png")):
        whole = load_artwork(path).pixels
        top, left = ((size - side) // 2 for size in whole.shape[-2:])
        crop = whole[..., top : top + side, left : left + side].contiguous()
        yield crop, redraw(crop, style)


def shifts_of(
    cloaked: Tensor, original: Tensor, styled: Tensor, encoders: dict[str, Encoder]
) -> list[float]:
    """What each encoder sees."""
    return [
        Comparison.of(original, styled, encoder, None).measure(cloaked)[0].shift_512
        for encoder in encoders.values()
    ]


def tell(name: str, rows: list[list[float]]) -> None:
    """One row of the table: means over the pictures."""
    means = [statistics.fmean(column) for column in zip(*rows, strict=True)]
    print(f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |", flush=True)


def main() -> None:
    """Cloak, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--autoencoder", type=Path, required=True, help="taef2, both halves")
    parser.add_argument("--side", type=int, default=256, help="of the crops, in pixels")
    options = parser.parse_args()
    autoencoder, budget = load_autoencoder(options.autoencoder), PRESETS["default"]
    metric: PerceptualMetric = load_metric(budget.metric)
    encoders = {
        "embedded": load_encoder("embedded"),
        "taef2": autoencoder.as_encoder(),
        **random_encoders(),
    }
    pairs = list(pictures(options.side))
    print("| made on | " + " | ".join(encoders) + " |")
    print("|---" * (1 + len(encoders)) + "|")
    for name, encoder in ways(autoencoder, encoders):
        cloaks = [
            optimize_cloak(x, y, encoder, budget, CloakSettings(), metric=metric).images
            for x, y in pairs
        ]
        tell(name, [shifts_of(c, *pair, encoders) for c, pair in zip(cloaks, pairs, strict=True)])
    generator = torch.Generator().manual_seed(0)
    for name in ("a step on taef2's manifold", "noise"):
        rows = []
        for x, y in pairs:
            delta = torch.randn(x.shape, generator=generator)
            if name != "noise":
                delta = on_manifold(autoencoder, x, y)
            comparison = Comparison.of(x, y, encoders["embedded"], metric)
            rows.append(shifts_of(within(comparison, budget, delta), x, y, encoders))
        tell(name, rows)


if __name__ == "__main__":
    main()
