"""What a cloak may lead in place of Φ: functions of Φ's features, each taken as an encoder.

The optimiser, the budget and the goal stay the library's: d(F(x + δ), F(styled)) is minimised for
F instead of Φ.  Each has a second form that looks at the picture as the main loader hands it to a
mimic (``loaded …``), not at the file: the library does so, at 512 px, for half of its steps on
pictures that are larger than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_glaze.networks.encoders import Encoder

from .autoencoder import Autoencoder
from .loaders import area
from .world import TRAINED

Features = Callable[[Autoencoder, Tensor], Tensor]
"""From an autoencoder and pictures (B, 3, H, W) in [0, 1] to features (B, ...)."""

_MEAN_WEIGHT = 8.0  # of means beside covariances
_SIZES = (1, 2, 4, 8)  # by which decoded pictures are made smaller


def _latents(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    return autoencoder.encode(pictures)


def _decoded(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """D(Φ(x)), the picture that a model's decoder makes of the latents."""
    shown: Tensor = autoencoder.decoder(autoencoder.encode(pictures))
    return shown


def _sizes(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """D(Φ(x)) at several sizes, each counting the same."""
    shown = _decoded(autoencoder, pictures).float()
    smaller = [F.avg_pool2d(shown, size).flatten(1) * size for size in _SIZES]
    return torch.cat(smaller, dim=1)


def statistics(maps: Tensor) -> Tensor:
    """Means and covariances over positions of (B, C, h, w), as one vector (B, C + C²)."""
    flat = maps.float().flatten(2)
    mean = flat.mean(dim=2)
    centred = flat - mean[..., None]
    covariance = centred @ centred.mT / flat.shape[2]
    return torch.cat([_MEAN_WEIGHT * mean, covariance.flatten(1)], dim=1)


def _patches(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Statistics of 3 × 3 patches of latents."""
    latents = autoencoder.encode(pictures).float()
    return statistics(F.unfold(latents, 3)[..., None])


def _blocks(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Latents averaged over blocks of 4 × 4 positions."""
    return F.avg_pool2d(autoencoder.encode(pictures).float(), 4)


_PLAIN: Mapping[str, Features] = {
    "latents": _latents,
    "decoded": _decoded,
    "sizes": _sizes,
    "patches": _patches,
    "blocks": _blocks,
}


def _as_loaded(features: Features) -> Features:
    return lambda autoencoder, pictures: features(autoencoder, area(pictures, TRAINED))


FEATURES: Mapping[str, Features] = {
    **_PLAIN,
    **{f"loaded {name}": _as_loaded(features) for name, features in _PLAIN.items()},
}
"""By name; ``latents`` is the published distance."""


def encoder_of(autoencoder: Autoencoder, name: str) -> Encoder:
    """An encoder for :func:`comfy_glaze.cloaking.cloak.optimize_cloak`.

    It computes in bfloat16, four times as fast where the processor multiplies that in hardware; its
    latents differ from float32's by 0.0002 of their variance on paintings, 0.001 on engravings.

    Raises:
        ValueError: there are no such features.
    """
    if name not in FEATURES:
        raise ValueError(f"Expected features among {', '.join(FEATURES)}, but got {name}.")
    compute = FEATURES[name]

    def features(pictures: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return compute(autoencoder, pictures)

    return replace(autoencoder.as_encoder(), name=f"taef2, {name}", features=features)
