"""Measure what a style transfer keeps of the content, and how far it moves the style.

    pip install piq
    python training/measure_style_transfer.py
    python training/measure_style_transfer.py --style-transfer path/to/stable-diffusion

redraws the package's three content pictures in eight of the built-in styles, at several strengths
(for Stable Diffusion the host's "denoise"), and prints the means of

* content kept: MS-SSIM of the brightness of the redrawn picture and the original, 1 for all of it;
* style moved: the Gram distance between them in the trunk of st-lpips-alex, 0 for not at all.  It
  is ‖G(a) − G(b)‖² / (‖G(a)‖² + ‖G(b)‖²) for each layer, averaged over layers;
* the same Gram distance from the engine's own picture at full strength.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import piq
import torch
from torch import Tensor

from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.files.bundled import content_pictures
from comfy_glaze.images import shrink, to_grid
from comfy_glaze.networks.perceptual import PerceptualMetric, load_metric
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.transfer import load_style_transfer

SIDE = 256
STYLES = (0, 4, 7, 11, 15, 19, 22, 24)
STRENGTHS = {"embedded": (0.3, 0.5, 0.7, 0.85, 1.0), "img2img": (0.3, 0.4, 0.5, 0.6, 0.7)}


def grams(picture: Tensor, metric: PerceptualMetric) -> list[Tensor]:
    """Products of channels averaged over positions, per layer."""
    with torch.no_grad():
        layers = [layer.flatten(2) for layer in metric.trunk(picture * 2 - 1)]
    return [layer @ layer.transpose(1, 2) / layer.shape[2] for layer in layers]


def gram_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """0 for the same style, 1 for products without anything in common."""
    return statistics.fmean(
        float((a - b).square().sum() / (a.square().sum() + b.square().sum()))
        for a, b in zip(one, other, strict=True)
    )


def brightness(picture: Tensor) -> Tensor:
    """Luma (1, 1, H, W) after ITU-R BT.601."""
    weights = picture.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (picture * weights).sum(dim=1, keepdim=True).clamp(0, 1)


def main() -> None:
    """Redraw, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--style-transfer", default="embedded")
    parser.add_argument("--side", type=int, default=SIDE, help="short side of the pictures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pictures", type=Path, help="folder to save the redrawn pictures in")
    options = parser.parse_args()
    metric = load_metric("st-lpips-alex")
    kind = "embedded" if options.style_transfer == "embedded" else "img2img"
    contents = [to_grid(shrink(picture, options.side)) for picture in content_pictures()]
    print("strength  MS-SSIM  Gram from original  Gram from full strength")
    full: dict[tuple[int, int], list[Tensor]] = {}
    for strength in sorted({*STRENGTHS[kind], 1.0}, reverse=True):
        redraw = load_style_transfer(options.style_transfer, options.device, strength)
        rows: list[tuple[float, float, float]] = []
        for place, content in enumerate(contents):
            original = grams(content, metric)
            for number in STYLES:
                redrawn = redraw(content, builtin_styles()[number])
                found = grams(redrawn, metric)
                kept = float(piq.multi_scale_ssim(brightness(redrawn), brightness(content)))
                goal = full.setdefault((place, number), found)
                rows.append((kept, gram_distance(original, found), gram_distance(goal, found)))
                if options.pictures:
                    name = f"{strength:.2f}-{place}-{number:02}.png"
                    options.pictures.mkdir(parents=True, exist_ok=True)
                    save_artwork(redrawn, Artwork(redrawn), options.pictures / name)
        means = [statistics.fmean(column) for column in zip(*rows, strict=True)]
        print(f"{strength:8.2f}  {means[0]:7.3f}  {means[1]:18.3f}  {means[2]:23.3f}", flush=True)


if __name__ == "__main__":
    main()
