"""Φ: image encoders whose features a cloak moves.

Every encoder is differentiable and deterministic (the latent mean, never a sample), takes pictures
of any size, and carries a fingerprint of its weights, so that a style bank or a report can say
which encoder it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .folding import DownsamplingPair
from .kinds import ENCODERS, why_unknown


class EncoderError(ValueError):
    """An encoder that cannot be had, in one sentence."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """Φ, from pictures to features.

    Attributes:
        name: what the user calls it (``embedded-1``, a file's name, a hub id).
        fingerprint: hash of the weights, see :func:`fingerprint_of`.
        features: images (B, 3, H, W) in [0, 1], H and W multiples of ``multiple``, to features
            (B, C, h, w).
        multiple: the side of a pixel block that becomes one feature position.
        device: where ``features`` computes.
        is_rehearsal: true for the embedded encoder, which no image generator uses.
        members: the encoders that this one stands for, each with its share of 1; none for an
            encoder that stands for itself.
        family: whose encoder it is, as artists know it (``FLUX.2's``), where that is known.
        net: the network that ``features`` passes, where its weights are this encoder's own.
        decode: features as ``features`` gives them to the pictures (B, 3, H, W) in [0, 1] that the
            autoencoder's own decoder makes of them; None for an encoder alone.
    """

    name: str
    fingerprint: str
    features: Callable[[Tensor], Tensor]
    multiple: int
    device: torch.device
    is_rehearsal: bool = False
    members: tuple[tuple[Encoder, float], ...] = ()
    family: str = ""
    net: nn.Module | None = None
    decode: Callable[[Tensor], Tensor] | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, C, ⌈H/m⌉, ⌈W/m⌉) of images (B, 3, H, W) in [0, 1].

        Sizes off the multiple are extended by repeating the last row and column, so that every
        pixel has a gradient (a centre crop, as hosts do it, leaves the edges without one).
        """
        bottom, right = (-images.shape[-2]) % self.multiple, (-images.shape[-1]) % self.multiple
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        return self.features(images).float()

    @torch.no_grad()
    def decoded(self, images: Tensor) -> Tensor:
        """D(Φ(x)): what the autoencoder makes of images (B, 3, H, W) in [0, 1], on their device.

        Raises:
            EncoderError: it has no decoder.
        """
        if self.decode is None:
            raise EncoderError(f"{self.name} is an encoder alone, so it decodes nothing.")
        height, width = images.shape[-2:]
        pictures = self.decode(self(images.to(self.device)))
        return pictures[..., :height, :width].to(images)


def fingerprint_of(weights: Mapping[str, Tensor], looked_at: int | None = None) -> str:
    """Sixteen hex digits that name a set of weights, by the signs of their values.

    A sign survives rounding to float16 or bfloat16, so the fingerprint of a file is also that of
    the copy which a host keeps in half precision.  Keys, shapes and order do not count: it is the
    same in diffusers' layout, in the original one, and inside a host.  Training for a few steps
    changes it, since some weights always lie near 0; scaling a tensor does not.

    Args:
        looked_at: how many values of each tensor are looked at, evenly spread; None for all.
    """
    digests = sorted(_digest(weight.detach(), looked_at) for weight in weights.values())
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _digest(weight: Tensor, looked_at: int | None) -> bytes:
    count = weight.numel()
    every = 1 if looked_at is None else max(1, -(-count // looked_at))
    signs = torch.signbit(weight.flatten()[::every].float()).cpu().numpy()
    return hashlib.sha256(count.to_bytes(8, "big") + np.packbits(signs).tobytes()).digest()


def encoder_from_module(model: nn.Module, name: str, device: torch.device) -> Encoder:
    """Take over an autoencoder of a known kind, and freeze its weights.

    Its decoder half stays where it was, and comes to the device only while it decodes.

    Raises:
        EncoderError: a class that is not in :data:`~.kinds.ENCODERS`, or weights that are no
            numbers.
    """
    called = type(model).__name__
    kind = ENCODERS.get(called)
    if kind is None:
        raise EncoderError(f"{name} cannot serve as an encoder: {why_unknown(called)}.")
    model.eval().requires_grad_(False)
    half = {name: part for name in _DECODING if (part := getattr(model, name, None)) is not None}
    decodes = kind.decode if "decoder" in half else None
    _put_into(model, dict.fromkeys(half, nn.Identity()))
    nn.Module.to(model, device, torch.float32)  # diffusers' own `to` warns about nothing
    weights = model.state_dict()
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise EncoderError(
            f"{name} cannot serve as an encoder: some of its weights are no numbers."
        )
    if called == "AutoencoderTiny":
        layers: Any = model.encoder.layers  # type: ignore[union-attr]
        if DownsamplingPair.fits(layers[0], layers[1]):
            layers[0], layers[1] = DownsamplingPair(layers[0], layers[1]), nn.Identity()
    config = model.config
    return Encoder(
        name=name,
        fingerprint=fingerprint_of(weights),
        features=partial(kind.features, model),
        multiple=kind.multiple(config),
        device=device,
        family=kind.family(config),
        net=model,
        decode=None if decodes is None else partial(_decode, model, half, decodes),
    )


_DECODING = ("decoder", "post_quant_conv", "quantize", "decoder_unet")
"""Names of what an autoencoder has for decoding alone."""


def _put_into(model: nn.Module, parts: Mapping[str, nn.Module]) -> None:
    for name, part in parts.items():
        setattr(model, name, part)  # some kinds count the layers of what is there


@torch.inference_mode(False)  # weights that moved in inference mode could never move back
@torch.no_grad()
def _decode(
    model: nn.Module,
    half: Mapping[str, nn.Module],
    decode: Callable[[Any, Tensor], Tensor],
    features: Tensor,
) -> Tensor:
    """D, whose weights are on the features' device only meanwhile."""
    try:
        for part in half.values():
            part.to(features.device, torch.float32)
        _put_into(model, half)
        return decode(model, features).clamp(0, 1)
    finally:
        for part in half.values():
            part.to("cpu")
        _put_into(model, dict.fromkeys(half, nn.Identity()))
