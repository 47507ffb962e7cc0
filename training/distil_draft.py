"""Distil a smaller encoder from an encoder, to measure what drafts reach (``measure_draft.py``).

    python training/distil_draft.py --encoder embedded --works art/*/*.webp --out drafts/embedded

The student is the encoder half of an ``AutoencoderTiny``, a tenth of the teacher's size, and learns
nothing but the teacher's features of the works, whose sides must be at least 256 px: no cloak, no
noise and no gradient of the teacher.  So it agrees with its teacher as the small encoders on
people's disks agree with theirs, or less, for it trains minutes where those trained days.  It prints
the share of the features' variance that it leaves unexplained on works that it does not train on,
each tenth one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from train_autoencoder import Muon, TrainingLayout

from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder

SIDE = 8  # pixels that become one feature position of the student
WINDOW, CROP, BATCH = 256, 96, 8
"""Pixels: what of a work is shown to the teacher, once; what of it to the student at a time."""

EDGE = 2
"""Positions along a crop's sides that do not count, for the teacher saw what lies beyond."""


def looked_at(teacher: Encoder, path: Path) -> tuple[Tensor, Tensor]:
    """The middle of a work (1, 3, W, W), and the teacher's features of it on the student's grid."""
    pixels = load_artwork(path).pixels
    top, left = ((side - WINDOW) // 2 for side in pixels.shape[-2:])
    window = pixels[..., top : top + WINDOW, left : left + WINDOW]
    with torch.no_grad():
        features = F.pixel_shuffle(teacher(window), teacher.multiple // SIDE)
    return window, features


def crops_of(works: list[tuple[Tensor, Tensor]], random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of crops (B, 3, S, S) and their features."""
    crops, features = [], []
    for _ in range(BATCH):
        window, wanted = works[int(torch.randint(len(works), (), generator=random))]
        positions, side = WINDOW // SIDE, CROP // SIDE
        top, left = torch.randint(positions - side + 1, (2,), generator=random).tolist()
        features.append(wanted[..., top : top + side, left : left + side])
        rows = slice(top * SIDE, (top + side) * SIDE)
        crops.append(window[..., rows, left * SIDE : (left + side) * SIDE])
    return torch.cat(crops), torch.cat(features)


def unexplained(student: TrainingLayout, crops: Tensor, wanted: Tensor, spread: Tensor) -> Tensor:
    """The mean squared error of the features, in units of each channel's variance."""
    error = (student.encode(crops) - wanted) / spread
    return error[..., EDGE:-EDGE, EDGE:-EDGE].square().mean()


def save(student: TrainingLayout, folder: Path) -> None:
    """The encoder half, in diffusers' layout."""
    folder.mkdir(parents=True, exist_ok=True)
    model = student.standard()
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if k.startswith("encoder.")}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    model.save_config(folder)


def main() -> None:
    """Distil until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--encoder", default="embedded", help="the teacher")
    parser.add_argument("--works", type=Path, nargs="+", required=True, help="pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder of the student")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--blocks", type=int, nargs=4, default=(0, 1, 2, 2))
    parser.add_argument("--lr", type=float, default=3e-3)
    options = parser.parse_args()
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    teacher = load_encoder(options.encoder)
    shown = [looked_at(teacher, path) for path in sorted(options.works)]
    held, works = shown[::10], [one for i, one in enumerate(shown) if i % 10]
    first = torch.cat([wanted for _, wanted in held])
    spread = first.std(dim=(0, 2, 3), keepdim=True)
    student = TrainingLayout(
        {
            "latent_channels": first.shape[1],
            "encoder_block_out_channels": (options.width,) * 4,
            "decoder_block_out_channels": (options.width,) * 4,
            "num_encoder_blocks": tuple(options.blocks),
            "num_decoder_blocks": (0, 0, 0, 0),
        }
    ).to(memory_format=torch.channels_last)
    weights = [*student.stem.parameters(), *student.encoder.parameters()]
    inside = [one for one in weights if one.shape[:2] == (options.width, options.width)]
    rest = [one for one in weights if one.shape[:2] != (options.width, options.width)]
    optimisers = [Muon(inside, options.lr), torch.optim.AdamW(rest, options.lr, (0.9, 0.98))]
    started, step = time.monotonic(), 0
    while (spent := (time.monotonic() - started) / (60 * options.minutes)) < 1:
        rate = min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * spent))
        for group in [group for each in optimisers for group in each.param_groups]:
            group["lr"] = options.lr * rate
        loss = unexplained(student, *crops_of(works, random), spread)
        loss.backward()
        for each in optimisers:
            each.step()
            each.zero_grad()
        step += 1
        if step % 200 == 0:
            print(f"{step} steps, {spent:.0%} of the time: {float(loss.detach()):.4f}", flush=True)
    with torch.no_grad():
        left = [float(unexplained(student, *one, spread)) for one in held]
    told = {"steps": step, "unexplained on held-out works": sum(left) / len(left)}
    print(json.dumps(told))
    save(student, options.out)


if __name__ == "__main__":
    main()
