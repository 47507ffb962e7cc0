"""Small autoencoders that were made after large ones: the layouts of TAESD and TAEHV.

Both are a row of layers, numbered in the file: convolutions, activations without weights, and
residual blocks.  The numbers, shapes and biases say all that must be known to build one:

* TAESD (MIT, madebyollin/taesd): a convolution without bias halves the picture.  Its variant for
  FLUX.2 adds a pool before some blocks; the one for Sana starts with two halving convolutions.
* TAEHV (MIT, madebyollin/taehv), for video models: blocks also see the frame before, and a
  convolution of size 1 merges frames.  A picture is a video that stands still, and the first
  latent frame is what the model has of it.

Pictures come in [0, 1].  Of decoders those of pictures are read, not those of videos.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import families

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class SmallConfig:
    """What the layers of a small encoder do not say by themselves.

    Attributes:
        patch: the side of the pixel block that the first layer takes as channels.
        packs: 2 where blocks of 2 × 2 features become channels, as FLUX.2 has them; else 1.
        frames: that stand for a picture; 0 for an encoder of pictures.
        empty: how many of these are black ones before it.
        signed: it takes pictures in [−1, 1] instead of [0, 1].
        multiple: the side of a pixel block that becomes one feature position.
        family: whose encoder it was made after.
    """

    patch: int
    packs: int
    frames: int
    empty: int
    signed: bool
    multiple: int
    family: str


class Block(nn.Module):
    """A residual block: three convolutions beside a shortcut, after a pool where there is one."""

    def __init__(self, weights: Weights, act: nn.Module) -> None:
        super().__init__()
        width, inputs = weights["conv.0.weight"].shape[:2]
        self.remembers = weights["conv.4.weight"].shape[0] * 2 == inputs
        own = inputs // 2 if self.remembers else inputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1),
            act,
            nn.Conv2d(width, width, 3, padding=1),
            act,
            nn.Conv2d(width, width, 3, padding=1),
        )
        has_skip = "skip.weight" in weights
        self.skip = nn.Conv2d(own, width, 1, bias=False) if has_skip else nn.Identity()
        self.act = act
        self.pool: nn.Module | None = None
        if "pool.0.weight" in weights:
            inner = weights["pool.0.weight"].shape[0]
            self.pool = nn.Sequential(
                nn.Conv2d(own, inner, 1, bias=False),
                nn.GroupNorm(4, inner),
                nn.ReLU(),
                nn.Conv2d(inner, own, 1, bias=False),
            )

    def forward(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """(N, C, h, w), and for a block that remembers the same one frame earlier."""
        if self.pool is not None:
            x = x + self.pool(x)
        seen = x if before is None else torch.cat([x, before], dim=1)
        fused: Tensor = self.act(self.conv(seen) + self.skip(x))
        return fused


class FrameMerge(nn.Module):
    """Several frames become one."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        width, inputs = weights["conv.weight"].shape[:2]
        self.count = inputs // width
        self.conv = nn.Conv2d(inputs, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N / count, C, h, w)."""
        merged: Tensor = self.conv(x.reshape(-1, self.count * x.shape[1], *x.shape[2:]))
        return merged


class SmallEncoder(nn.Module):
    """An encoder in the layout of TAESD or TAEHV, built to fit its weights.

    Args:
        weights: by the file's keys, without what comes before the layer's number.
        decoder: the same of the decoder half, counted from its first convolution.

    Raises:
        KeyError: these are not such weights.
    """

    def __init__(self, weights: Weights, decoder: Weights | None = None) -> None:
        super().__init__()
        parts = by_layer(weights)
        last = max(parts)
        in_time = any("conv.weight" in part for part in parts.values())
        channels = parts[last]["weight"].shape[0]
        # As ComfyUI reads those of HunyuanVideo 1.5.
        act = nn.LeakyReLU(0.2) if in_time and channels == 32 else nn.ReLU()
        layers: list[nn.Module] = []
        halvings = 0
        for number in range(last + 1):
            part = parts.get(number)
            if part is None:
                layers.append(act)
            elif "conv.0.weight" in part:
                layers.append(Block(part, act))
            elif "conv.weight" in part:
                layers.append(FrameMerge(part))
            else:
                stem = not in_time and number != last and number + 1 not in parts
                halves = "bias" not in part or stem
                halvings += halves
                out, inputs, size, _ = part["weight"].shape
                stride = 2 if halves else 1
                layers.append(nn.Conv2d(inputs, out, size, stride, size // 2, bias="bias" in part))
        self.layers = nn.Sequential(*layers)
        self.layers.load_state_dict({key: value.float() for key, value in weights.items()})
        merges = [layer.count for layer in layers if isinstance(layer, FrameMerge)]
        packs = 2 if any("pool.0.weight" in part for part in parts.values()) else 1
        patch = round((parts[0]["weight"].shape[1] / 3) ** 0.5)
        black = 3 if in_time and channels == 24 else 0  # MiniMax H3's first chunk starts so
        frames = black + 1 if black else math.prod(merges) * in_time
        self.config = SmallConfig(
            patch=patch,
            packs=packs,
            frames=frames,
            empty=black,
            signed=in_time and channels == 32,  # as ComfyUI reads these files
            multiple=patch * packs * 2**halvings,
            family=_family(channels, packs, 2**halvings, in_time),
        )
        if decoder and not in_time and is_decoder_of_pictures(decoder, 2**halvings):
            self.decoder = SmallDecoder(decoder)

    def decode(self, features: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), about in [0, 1], of features (B, C, h, w)."""
        pictures: Tensor = self.decoder(F.pixel_shuffle(features, self.config.packs))
        return pictures

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, C, h, w) of images (B, 3, H, W) in [0, 1]."""
        config, count = self.config, len(images)
        x = F.pixel_unshuffle(images * 2 - 1 if config.signed else images, config.patch)
        if not config.frames:
            # Plain convolutions run half as long again in the default memory format on CPUs.
            features: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
            return F.pixel_unshuffle(features, config.packs)
        still = [torch.zeros_like(x)] * config.empty + [x] * (config.frames - config.empty)
        x = torch.stack(still, dim=1).flatten(0, 1)
        for layer in self.layers:
            if isinstance(layer, Block) and layer.remembers:
                x = layer(x, _frame_before(x, count))
            else:
                x = layer(x)
        return x.view(count, -1, *x.shape[1:])[:, 0]


class SmallDecoder(nn.Module):
    """A decoder in the layout of TAESD, built to fit its weights.

    Args:
        weights: by the file's keys, layers counted from the first convolution.  The second layer is
            an activation; each other one without weights doubles the picture.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        parts, act = by_layer(weights), nn.ReLU()
        layers: list[nn.Module] = []
        for number in range(max(parts) + 1):
            part = parts.get(number)
            if part is None:
                layers.append(act if number == 1 else nn.Upsample(scale_factor=2))
            elif "conv.0.weight" in part:
                layers.append(Block(part, act))
            else:
                out, inputs, size, _ = part["weight"].shape
                bias = "bias" in part
                layers.append(nn.Conv2d(inputs, out, size, padding=size // 2, bias=bias))
        self.layers = nn.Sequential(*layers)
        self.layers.load_state_dict({key: value.float() for key, value in weights.items()})

    def forward(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), about in [0, 1], of latents (B, C, h, w)."""
        pictures: Tensor = self.layers(torch.tanh(latents / 3) * 3)
        return pictures


def is_decoder_of_pictures(weights: Weights, side: int) -> bool:
    """Whether a small decoder makes a block of ``side`` × ``side`` pixels of each position."""
    parts = by_layer(weights)
    last = max(parts)
    doublings = [number for number in range(2, last) if number not in parts]
    return (
        1 not in parts
        and "weight" in parts.get(0, {})
        and "weight" in parts[last]
        and parts[last]["weight"].shape[0] == 3
        and 2 ** len(doublings) == side
        and all("weight" in parts.get(number + 1, {}) for number in doublings)
        and not any("conv.weight" in part for part in parts.values())
    )


def _frame_before(x: Tensor, count: int) -> Tensor:
    """(B T, C, h, w), each frame replaced by the one before it, the first by zeros."""
    frames = x.view(count, -1, *x.shape[1:])
    return torch.cat([torch.zeros_like(frames[:, :1]), frames[:, :-1]], dim=1).flatten(0, 1)


def by_layer(weights: Weights) -> dict[int, dict[str, Tensor]]:
    """Weights by the number of their layer, each under the rest of its key."""
    parts: dict[int, dict[str, Tensor]] = {}
    for key, value in weights.items():
        number, _, rest = key.partition(".")
        parts.setdefault(int(number), {})[rest] = value
    return parts


def _family(channels: int, packs: int, side: int, in_time: bool) -> str:
    if in_time:
        known = {
            16: families.WAN_2_1,
            24: "MiniMax H3's",
            32: "HunyuanVideo 1.5's",
            48: families.WAN_2_2,
            128: "LTX-2's",
        }
    elif side == 32:
        known = {32: families.SANA}
    else:
        known = {4: families.SD, 16: families.FLUX_1, 32: families.FLUX_2 if packs == 2 else ""}
    family = known.get(channels, "")
    return families.small(family) if family else ""


_BLOCK = re.compile(r"\d+\.conv\.0\.weight")


def is_small_encoder(weights: Weights) -> bool:
    """Whether these are the numbered layers of an encoder that takes pictures."""
    return (
        "0.weight" in weights
        and weights["0.weight"].ndim == 4
        and weights["0.weight"].shape[1] % 3 == 0
        and all(key.split(".")[0].isdigit() for key in weights)
        and any(_BLOCK.fullmatch(key) for key in weights)
    )


def is_tiny(weights: Weights) -> bool:
    """Whether a small encoder is one that diffusers' ``AutoencoderTiny`` can be: of pictures, one
    width throughout, and blocks from the second layer on."""
    special = (".pool.", ".skip.")
    return "1.conv.0.weight" in weights and not any(
        any(word in key for word in special) or key.endswith(".conv.weight") for key in weights
    )


def is_small_decoder(weights: Weights) -> bool:
    """Whether these are the numbered layers of a decoder, whose first one has no weights."""
    return "0.weight" not in weights and "1.weight" in weights and "3.conv.0.weight" in weights
