"""Small encoders as their files lay them out, spelled out layer by layer, with random weights.

A layout says what each layer is; :func:`weights_of` draws weights for it under the files' keys, and
:func:`features_of` computes it the plain way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Layers = list[tuple[str, int, int]]  # what, input channels, output channels
Weights = dict[str, Tensor]

W = 8


def _level(block: str) -> Layers:
    return [("down", W, W), (block, W, W), (block, W, W), (block, W, W)]


def taesd(channels: int) -> Layers:
    start: Layers = [("conv", 3, W), ("block", W, W)]
    return [*start, *_level("block"), *_level("block"), *_level("block"), ("conv", W, channels)]


def taef2(channels: int = 32) -> Layers:
    start: Layers = [("conv", 3, W), ("block", W, W)]
    return [*start, *_level("block"), *_level("block"), *_level("pooled"), ("conv", W, channels)]


def taef2_decoder(channels: int = 32) -> Layers:
    """Its layer 0 limits the latents, and has no weights."""
    start: Layers = [("none", 0, 0), ("conv", channels, W), ("act", 0, 0)]
    levels: Layers = []
    for block in ("pooled", "block", "block"):
        levels += [(block, W, W)] * 3 + [("double", 0, 0), ("flat", W, W)]
    return [*start, *levels, ("block", W, W), ("conv", W, 3)]


def taesana(channels: int = 32) -> Layers:
    stem: Layers = [("stem", 3, W), ("act", 0, 0), ("stem", W, W), ("act", 0, 0), ("block", W, W)]
    return [*stem, *_level("block"), *_level("block"), *_level("block"), ("conv", W, channels)]


def taehv(channels: int, patch: int, merges: tuple[int, int, int] = (2, 2, 1)) -> Layers:
    layers: Layers = [("conv", 3 * patch**2, W), ("act", 0, 0)]
    for count in merges:
        layers += [("merge", W * count, W), *_level("memory")]
    return [*layers, ("conv", W, channels)]


def weights_of(layers: Layers, seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}

    def draw(key: str, inputs: int, outputs: int, size: int, bias: bool = True) -> None:
        spread = (inputs * size**2) ** -0.5
        shape = (outputs, inputs, size, size)
        weights[f"{key}.weight"] = torch.randn(shape, generator=generator) * spread
        if bias:
            weights[f"{key}.bias"] = 0.1 * torch.randn(outputs, generator=generator)

    for number, (what, inputs, outputs) in enumerate(layers):
        if what in ("conv", "stem"):
            draw(f"{number}", inputs, outputs, 3)
        elif what in ("down", "flat"):
            draw(f"{number}", inputs, outputs, 3, bias=False)
        elif what == "merge":
            draw(f"{number}.conv", inputs, outputs, 1, bias=False)
        elif what in ("block", "pooled", "memory"):
            draw(f"{number}.conv.0", inputs * (1 + (what == "memory")), outputs, 3)
            draw(f"{number}.conv.2", outputs, outputs, 3)
            draw(f"{number}.conv.4", outputs, outputs, 3)
        if what == "pooled":
            draw(f"{number}.pool.0", inputs, 4 * inputs, 1, bias=False)
            draw(f"{number}.pool.3", 4 * inputs, inputs, 1, bias=False)
            weights[f"{number}.pool.1.weight"] = torch.rand(4 * inputs, generator=generator)
            weights[f"{number}.pool.1.bias"] = torch.rand(4 * inputs, generator=generator)
    return weights


def decoder_weights(channels: int = 4) -> Weights:
    """The first layers of a decoder, whose layer 0 has no weights."""
    drawn = weights_of([("act", 0, 0), ("conv", channels, W), ("act", 0, 0), ("block", W, W)])
    return drawn


def features_of(layers: Layers, weights: Weights, frames: list[Tensor]) -> Tensor:
    """The first frame of features (1, C, h, w) of a video, a list of frames (1, C, H, W)."""
    for number, (what, _, _) in enumerate(layers):
        part = {
            key.removeprefix(f"{number}."): value
            for key, value in weights.items()
            if key.startswith(f"{number}.")
        }
        if what in ("conv", "stem", "down", "flat"):
            stride = 2 if what in ("stem", "down") else 1
            frames = [
                F.conv2d(x, part["weight"], part.get("bias"), stride, padding=1) for x in frames
            ]
        elif what == "act":
            frames = [x.relu() for x in frames]
        elif what == "double":
            frames = [x.repeat_interleave(2, -2).repeat_interleave(2, -1) for x in frames]
        elif what == "merge":
            count = part["conv.weight"].shape[1] // frames[0].shape[1]
            groups = [frames[i : i + count] for i in range(0, len(frames), count)]
            frames = [F.conv2d(torch.cat(group, dim=1), part["conv.weight"]) for group in groups]
        elif what != "none":
            before = [torch.zeros_like(frames[0]), *frames[:-1]]
            seen = zip(frames, before, strict=True)
            frames = [_block(part, x, y if what == "memory" else None) for x, y in seen]
    return frames[0]


def _block(part: Weights, x: Tensor, before: Tensor | None) -> Tensor:
    if "pool.0.weight" in part:
        pooled = F.conv2d(x, part["pool.0.weight"])
        pooled = F.group_norm(pooled, 4, part["pool.1.weight"], part["pool.1.bias"]).relu()
        x = x + F.conv2d(pooled, part["pool.3.weight"])
    y = x if before is None else torch.cat([x, before], dim=1)
    for name in ("conv.0", "conv.2", "conv.4"):
        y = F.conv2d(y, part[f"{name}.weight"], part[f"{name}.bias"], padding=1)
        y = y.relu() if name != "conv.4" else y
    return (x + y).relu()
