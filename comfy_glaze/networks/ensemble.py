"""One encoder that stands for several."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files.bundled import content_pictures
from .encoder_files import load_encoder
from .encoders import Encoder, EncoderError
from .turns import on_device


def load_encoders(names: Sequence[str], device: torch.device | str = "cpu") -> Encoder:
    """Load Φ by one name, or one that stands for several, each counting as much as the others.

    Where memory on the device is short, it holds the weights of one of several at a time.

    Args:
        names: each as for :func:`comfy_glaze.networks.encoder_files.load_encoder`.

    Raises:
        EncoderError: a name leads to no encoder, or two of them to the same.
    """
    if len(names) == 1:
        return load_encoder(names[0], device)
    encoders = [load_encoder(name) for name in names]
    for number, encoder in enumerate(encoders):
        for other in encoders[:number]:
            if encoder.fingerprint == other.fingerprint:
                raise EncoderError(
                    f"Expected different encoders, but {other.name} and {encoder.name} have the "
                    "same weights; name one of them."
                )
    return combine_encoders(on_device(encoders, torch.device(device)), [1] * len(encoders))


def combine_encoders(encoders: Sequence[Encoder], weights: Sequence[float]) -> Encoder:
    """One encoder that stands for several, so that a cloak leads all of them at once.

    The method ``fast`` lets its members take turns, and a cloak is measured on each of them (see
    :mod:`comfy_glaze.cloaking.comparison`).  What looks at the features as a whole, as style banks
    do, sees a feature distance that is the weighted mean of theirs, each divided by the variance of
    that encoder's features over the pictures that ship with the package, since the scales of latent
    spaces differ by far:

        d(a, b) = Σᵢ wᵢ dᵢ(a, b) / σᵢ²,   Σᵢ wᵢ = 1

    All features come to one grid, the coarsest, where each position of it holds all positions of a
    finer one as channels; so nothing is resampled, and the means over positions that make a style
    bank's centroids keep their meaning.  Each member's elements are scaled by
    √(wᵢ N / Nᵢ) / σᵢ, where Nᵢ of the N channels are its own.

    Args:
        encoders: one or more, on one device.
        weights: one above 0 for each; only their ratios count.

    Raises:
        EncoderError: no encoder, a weight that is not above 0, or encoders on several devices.
    """
    if not encoders or len(encoders) != len(weights) or not all(w > 0 for w in weights):
        raise EncoderError(
            f"Expected encoders with a weight above 0 each, but got {len(encoders)} encoders and "
            f"the weights {', '.join(f'{w:g}' for w in weights) or 'none'}."
        )
    if len({encoder.device for encoder in encoders}) > 1:
        raise EncoderError(
            "Encoders can only be combined on one device, but they are on "
            f"{', '.join(str(encoder.device) for encoder in encoders)}."
        )
    multiple = math.lcm(*(encoder.multiple for encoder in encoders))
    shares = [weight / sum(weights) for weight in weights]
    spreads = [_spread(encoder) for encoder in encoders]

    def features(images: Tensor) -> Tensor:
        own = [
            F.pixel_unshuffle(encoder(images), multiple // encoder.multiple) for encoder in encoders
        ]
        channels = sum(one.shape[1] for one in own)
        return torch.cat(
            [
                one * (math.sqrt(share * channels / one.shape[1]) / spread)
                for one, share, spread in zip(own, shares, spreads, strict=True)
            ],
            dim=1,
        )

    parts = [
        f"{encoder.fingerprint} {share:.6g}"
        for encoder, share in zip(encoders, shares, strict=True)
    ]
    return Encoder(
        name=" + ".join(encoder.name for encoder in encoders),
        fingerprint=hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16],
        features=features,
        multiple=multiple,
        device=encoders[0].device,
        is_rehearsal=all(encoder.is_rehearsal for encoder in encoders),
        members=tuple(zip(encoders, shares, strict=True)) if len(encoders) > 1 else (),
        family=" and ".join(dict.fromkeys(one.family for one in encoders if one.family)),
    )


@torch.no_grad()
def _spread(encoder: Encoder) -> float:
    """The standard deviation of an encoder's features over the pictures of the package."""
    pictures = (picture.to(encoder.device) for picture in content_pictures())
    deviation = torch.cat([encoder(picture).flatten() for picture in pictures]).std()
    return float(deviation.clamp_min(1e-12))
