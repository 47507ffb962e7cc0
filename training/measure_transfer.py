"""Measure what a cloak made on one encoder does to encoders that it has never seen.

    python training/measure_transfer.py --autoencoder taef2.safetensors --works art/*/01.png

cloaks the middle of each work towards one built-in style, within the preset ``default``, in several
ways, and prints what each of four encoders sees: the embedded one, FLUX.2's tiny one (see
``training/real_art/convert_autoencoder.py``), and two of random weights, which stand for encoders
that have nothing in common with the first two.  One table has the shift towards the style, one how
far the features moved anywhere, in units of the variance of the original's, and one how much of
their fine structure changed after an upload, which foretold best what mimics learn (see
``comfy_glaze/cloaking/effect.py``).  All are means over the works with 95% intervals, and are
printed after each work for all until then.  All computes in float32: in bfloat16 the embedded
encoder's features are wrong on some processors.

Ways, each by the objectives ``towards`` and ``beyond``:

* on one encoder, each of the four;
* on the embedded and both random ones together (taef2 is not seen), and on taef2 with both random
  ones (the embedded one is not seen).

Others:

* on taef2, other features of it than its latents: the decoded picture and the statistics of
  patches, as in ``training/real_art/objectives.py``, by ``towards``;
* a step on taef2's manifold: the difference of two decoded pictures, the styled one's and the
  original's, as large as the budget lets it be, without optimisation;
* noise in place of a cloak, as large as the budget lets it be.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import torch
from real_art.autoencoder import Autoencoder, load_autoencoder
from real_art.objectives import FEATURES, Networks
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.measures import feature_distance
from comfy_glaze.cloaking.room import Room, largest_inside
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.judges.intervals import mean_interval
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder, encoder_from_module
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import PerceptualMetric, load_metric
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.transfer import load_style_transfer

SAMPLES = sorted((Path(__file__).parent.parent / "samples").glob("*.png"))
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


def ways(
    autoencoder: Autoencoder, encoders: dict[str, Encoder]
) -> Iterator[tuple[str, Encoder, str]]:
    """What cloaks are made on, and by which objective."""
    null = [encoder for name, encoder in encoders.items() if name.startswith("random")]
    together = {
        f"{name} + both random": combine_encoders([encoders[name], *null], [1, 1, 1])
        for name in ("embedded", "taef2")
    }
    for objective in ("towards", "beyond"):
        for name, encoder in {**encoders, **together}.items():
            yield f"{name}, {objective}", encoder, objective
    for name in ("decoded", "patches"):
        features = partial(FEATURES[name], Networks(autoencoder))
        yield f"taef2, {name}", replace(encoders["taef2"], name=name, features=features), "towards"


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


def pictures(works: Sequence[Path], side: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The middle of each work, (1, 3, side, side), and the same redrawn."""
    redraw, style = load_style_transfer("embedded"), builtin_styles()[STYLE]
    for path in works:
        whole = load_artwork(path).pixels
        top, left = ((size - side) // 2 for size in whole.shape[-2:])
        crop = whole[..., top : top + side, left : left + side].contiguous()
        yield crop, redraw(crop, style)


@torch.no_grad()
def seen_by(
    encoder: Encoder, cloaked: Tensor, original: Tensor, styled: Tensor
) -> tuple[float, float, float]:
    """The shift towards the styled picture; the mean square of what the features moved by, in units
    of the variance of the original's; and how much of their structure changed after an upload."""
    measures = Comparison.of(original, styled, encoder, None).measure(cloaked)[0]
    before, after = encoder(original), encoder(cloaked)
    moved = float(feature_distance(after, before)) / float(before.var())
    return measures.shift_512, moved, measures.changed


TABLES = ("shift towards the style", "features moved", "structure changed after an upload")

Seen = dict[str, list[list[tuple[float, float, float]]]]
"""For each way, for each work, for each encoder: what the tables have."""


def tell(seen: Seen, encoders: Sequence[str]) -> None:
    """The tables."""
    for number, what in enumerate(TABLES):
        print(f"| {what}, made on | " + " | ".join(encoders) + " |")
        print("|---" * (1 + len(encoders)) + "|")
        for name, rows in seen.items():
            means = [
                mean_interval([of_work[column][number] for of_work in rows])
                for column in range(len(encoders))
            ]
            cells = [f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]" for mean in means]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Cloak, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--autoencoder", type=Path, required=True, help="taef2, both halves")
    parser.add_argument("--works", type=Path, nargs="+", default=SAMPLES, help="pictures")
    parser.add_argument("--side", type=int, default=192, help="of the crops, in pixels")
    options = parser.parse_args()
    autoencoder, budget = load_autoencoder(options.autoencoder), PRESETS["default"]
    metric: PerceptualMetric = load_metric(budget.metric)
    encoders = {
        "embedded": load_encoder("embedded"),
        "taef2": autoencoder.as_encoder(),
        **random_encoders(),
    }
    made_on = list(ways(autoencoder, encoders))
    seen: Seen = {}
    generator = torch.Generator().manual_seed(0)
    for number, (x, y) in enumerate(pictures(options.works, options.side), 1):
        cloaks = {}
        for name, encoder, objective in made_on:
            settings = CloakSettings(objective=objective)
            cloaks[name] = optimize_cloak(x, y, encoder, budget, settings, metric=metric).images
        comparison = Comparison.of(x, y, encoders["embedded"], metric)
        for name, delta in (
            ("a step on taef2's manifold", on_manifold(autoencoder, x, y)),
            ("noise", torch.randn(x.shape, generator=generator)),
        ):
            cloaks[name] = within(comparison, budget, delta)
        for name, cloaked in cloaks.items():
            of_each = [seen_by(encoder, cloaked, x, y) for encoder in encoders.values()]
            seen.setdefault(name, []).append(of_each)
        print(f"\n{number} works:\n")
        tell(seen, list(encoders))


if __name__ == "__main__":
    main()
