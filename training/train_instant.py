"""Train and measure a small network that predicts δ in one pass: a trial of an instant mode.

    python training/train_instant.py --contents FOLDER --out training/instant --minutes 15

The network trains on pictures of the folder, drawn in all but four of the built-in styles, for the
embedded encoder and a uniform cap of 8/255.  Then it cloaks the bundled artworks, which it has
never seen, towards the four styles that it has never seen either: by one pass alone, and with some
steps of `fast` from there.  The shift is compared with that of `fast` from noise, in the same
number of steps and in all of its own.  ``instant.json`` has every row, ``instant.safetensors`` the
weights.

Nothing in the package uses the network.  To be used it would have to reach four fifths of the full
shift in one pass.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.measures import feature_distance
from comfy_glaze.cloaking.problem import Problem
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.files.atomic import write_json
from comfy_glaze.files.finding import find_artworks
from comfy_glaze.images import LEVELS, resize, shrink, to_grid
from comfy_glaze.judges.intervals import mean_interval
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.transfer import load_style_transfer

CAP = 8 / LEVELS
SIDE = 128  # pixels of the training pictures
UNSEEN = builtin_styles()[3::7]
STEPS = (1, 2, 4, 8)


class Instant(nn.Module):
    """From a picture and the features it should have to a δ inside the cap.

    Works at an eighth of the picture's size, where the features are.
    """

    def __init__(self, features: int, width: int = 128, blocks: int = 6) -> None:
        super().__init__()
        self.fold, self.unfold = nn.PixelUnshuffle(8), nn.PixelShuffle(8)
        self.first = nn.Conv2d(3 * 64 + 2 * features, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, 3 * 64, 3, padding=1)

    def forward(self, images: Tensor, own: Tensor, goal: Tensor) -> Tensor:
        """δ (B, 3, H, W) for images whose sides are multiples of 8, and features (B, C, h, w)."""
        x = self.first(torch.cat([self.fold(images * 2 - 1), own, goal - own], dim=1))
        for block in self.blocks:
            x = x + block(x)
        delta: Tensor = CAP * torch.tanh(self.unfold(self.last(x)))
        return delta


@dataclass(frozen=True)
class Pairs:
    """Pictures (N, 3, H, W) and the features of themselves and of their styled ones."""

    images: Tensor
    own: Tensor
    goal: Tensor


@torch.no_grad()
def make_pairs(folder: Path, encoder: Encoder, count: int) -> Pairs:
    """Squares of a folder's pictures, each in one of the styles that may be seen."""
    paths = [path for path, _ in find_artworks([folder])]
    order = random.Random(0)
    order.shuffle(paths)
    redraw = load_style_transfer("embedded")
    styles = [style for style in builtin_styles() if style not in UNSEEN]
    images, own, goal = [], [], []
    for number in range(count):
        picture = load_artwork(paths[number % len(paths)]).pixels
        square = picture[..., : min(picture.shape[-2:]), : min(picture.shape[-2:])]
        square = to_grid(resize(square, SIDE, SIDE).clamp(0, 1))
        images.append(square)
        own.append(encoder(square))
        goal.append(encoder(redraw(square, order.choice(styles))))
    return Pairs(torch.cat(images), torch.cat(own), torch.cat(goal))


def train(net: Instant, pairs: Pairs, encoder: Encoder, minutes: float) -> list[float]:
    """Lower the feature distance that is left, for so long; the shift of every hundred steps."""
    until, shifts, recent = time.monotonic() + 60 * minutes, [], []
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    while (left := (until - time.monotonic()) / (60 * minutes)) > 0:
        for group in adam.param_groups:
            group["lr"] = 1e-3 * min(1.0, left + 0.02)
        chosen = torch.randint(len(pairs.images), (8,), generator=generator)
        images, own, goal = pairs.images[chosen], pairs.own[chosen], pairs.goal[chosen]
        seen = (images + net(images, own, goal)).clamp(0, 1)
        left_over = feature_distance(encoder(seen), goal) / feature_distance(own, goal)
        adam.zero_grad()
        left_over.mean().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        recent.append(1 - left_over.mean().item())
        if len(recent) == 100:
            shifts.append(sum(recent) / len(recent))
            print(f"{100 * len(shifts)} steps: shift {shifts[-1]:.3f}", flush=True)
            recent.clear()
    return shifts


def measure(net: Instant, encoder: Encoder, size: int) -> list[dict[str, Any]]:
    """Every bundled artwork towards every unseen style, from the network's δ and from noise."""
    metric = load_metric("auto", encoder.device)
    budget = Budget(0.05, CAP, metric=metric.name)
    redraw = load_style_transfer("embedded")
    rows = []
    for path, _ in find_artworks([Path("samples")]):
        small = shrink(load_artwork(path).pixels, size)
        height, width = (8 * (side // 8) for side in small.shape[-2:])
        images = to_grid(small[..., :height, :width].clamp(0, 1))
        for style in UNSEEN:
            styled = redraw(images, style)
            with torch.no_grad():
                predicted = net(images, encoder(images), encoder(styled))

            def start(problem: Problem, seed: int, delta: Tensor = predicted) -> Tensor:
                delta = delta.clone()
                problem.project_(delta)
                return delta.requires_grad_()

            def cloak(steps: int, images: Tensor = images, styled: Tensor = styled) -> float:
                settings = CloakSettings(steps=steps)
                made = optimize_cloak(images, styled, encoder, budget, settings, metric=metric)
                return made.measures[0].shift_512

            row: dict[str, Any] = {"picture": path.stem, "style": style.name, "full": cloak(0)}
            with (
                mock.patch("comfy_glaze.cloaking.methods.STEP", 0.0),
                mock.patch.object(Problem, "random_start", start),
            ):
                row["one pass"] = cloak(1)
            for steps in STEPS:
                row[f"noise, {steps}"] = cloak(steps)
                with mock.patch.object(Problem, "random_start", start):
                    row[f"predicted, {steps}"] = cloak(steps)
            rows.append(row)
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description="Instant mode, a trial.")
    parser.add_argument("--contents", type=Path, required=True, help="a folder of pictures")
    parser.add_argument("--out", type=Path, default=Path("training/instant"))
    parser.add_argument("--pairs", type=int, default=1200)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--size", type=int, default=256, help="short side of the measured pictures")
    options = parser.parse_args()
    torch.manual_seed(0)
    encoder = load_encoder("embedded")
    pairs = make_pairs(options.contents, encoder, options.pairs)
    net = Instant(pairs.own.shape[1])
    shifts = train(net, pairs, encoder, options.minutes)
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), options.out / "instant.safetensors")
    net.eval().requires_grad_(False)
    rows = measure(net, encoder, options.size)
    names = [name for name, value in rows[0].items() if isinstance(value, float)]
    shares = {
        name: mean_interval([row[name] / row["full"] for row in rows]).as_json() for name in names
    }
    write_json(
        {"training": shifts, "of the full shift": shares, "rows": rows},
        options.out / "instant.json",
    )
    for name, share in shares.items():
        print(f"{name:14} {share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]")


if __name__ == "__main__":
    main()
