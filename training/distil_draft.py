"""Distil a smaller encoder from an encoder, to measure what drafts reach (``measure_draft.py``).

    python training/distil_draft.py --encoder embedded --works art/*/*.webp --out drafts/embedded

The student is the encoder half of an ``AutoencoderTiny``, a tenth of the teacher's size, and learns
nothing but the teacher's features of crops of the works: no cloak, no noise and no gradient of the
teacher.  So it agrees with its teacher as the small encoders on people's disks agree with theirs, or
less, for it trains minutes where those trained days.  It prints the share of the features' variance
that it leaves unexplained on the works that it does not train on, each tenth one.
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
CROP, BATCH = 128, 8


def features_of(teacher: Encoder, crops: Tensor) -> Tensor:
    """The teacher's features on the student's grid, (B, C, h, w)."""
    with torch.no_grad():
        return F.pixel_shuffle(teacher(crops), teacher.multiple // SIDE)


def crops_of(works: list[Tensor], generator: torch.Generator) -> Tensor:
    """A batch of crops (B, 3, S, S), each flipped or not."""
    crops = []
    while len(crops) < BATCH:
        picture = works[int(torch.randint(len(works), (), generator=generator))]
        top, left = (
            int(torch.randint(side - CROP + 1, (), generator=generator))
            for side in picture.shape[-2:]
        )
        crop = picture[..., top : top + CROP, left : left + CROP]
        flipped = bool(torch.rand((), generator=generator) < 0.5)
        crops.append(crop.flip(-1) if flipped else crop)
    return torch.cat(crops).float() / 255


def unexplained(teacher: Encoder, student: TrainingLayout, crops: Tensor, spread: Tensor) -> Tensor:
    """The mean squared error of the features, in units of each channel's variance."""
    error = student.encode(crops) - features_of(teacher, crops)
    return (error / spread).square().mean()


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
    generator = torch.Generator().manual_seed(0)
    teacher = load_encoder(options.encoder)
    pictures = [(load_artwork(path).pixels * 255).round().byte() for path in sorted(options.works)]
    pictures = [one for one in pictures if min(one.shape[-2:]) >= CROP]
    held, works = pictures[::10], [one for i, one in enumerate(pictures) if i % 10]
    looked_at = [crops_of(held, torch.Generator().manual_seed(seed)) for seed in range(8)]
    first = torch.cat([features_of(teacher, crops) for crops in looked_at])
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
        loss = unexplained(teacher, student, crops_of(works, generator), spread)
        loss.backward()
        for each in optimisers:
            each.step()
            each.zero_grad()
        step += 1
        if step % 200 == 0:
            print(f"{step} steps, {spent:.0%} of the time: {float(loss.detach()):.4f}", flush=True)
    with torch.no_grad():
        left = [float(unexplained(teacher, student, crops, spread)) for crops in looked_at]
    told = {"steps": step, "unexplained on held-out works": sum(left) / len(left)}
    print(json.dumps(told))
    save(student, options.out)


if __name__ == "__main__":
    main()
