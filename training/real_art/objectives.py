"""What a cloak may lead in place of Φ: functions of Φ's features, each taken as an encoder.

The optimiser, the budget and the goal stay the library's: d(F(x + δ), F(styled)) is minimised for
F instead of Φ.  Each has two more forms: one looks at the picture as the main loader hands it to a
mimic (``loaded …``), the other at the picture after a JPEG upload and that loader (``sent …``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

from comfy_glaze.cloaking.effect import structure
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric

from .autoencoder import Autoencoder, quick
from .generator import NOBODY, Generator, Prompt, schedule
from .loaders import area
from .world import TRAINED


@dataclass(frozen=True, eq=False)
class Networks:
    """What features are computed with.

    Attributes:
        autoencoder: Φ and D.
        generator: the one that mimics fine-tune; only ``error`` looks through it.
    """

    autoencoder: Autoencoder
    generator: Generator | None = None


Features = Callable[[Networks, Tensor], Tensor]
"""From the networks and pictures (B, 3, H, W) in [0, 1] to features (B, ...)."""

_MEAN_WEIGHT = 8.0  # of means beside covariances
_SIZES = (1, 2, 4, 8)  # by which decoded pictures are made smaller


def _latents(networks: Networks, pictures: Tensor) -> Tensor:
    return networks.autoencoder.encode(pictures)


def _decoded(networks: Networks, pictures: Tensor) -> Tensor:
    """D(Φ(x)), the picture that a model's decoder makes of the latents."""
    shown: Tensor = networks.autoencoder.decoder(networks.autoencoder.encode(pictures))
    return shown


def _sizes(networks: Networks, pictures: Tensor) -> Tensor:
    """D(Φ(x)) at several sizes, each counting the same."""
    shown = _decoded(networks, pictures).float()
    smaller = [F.avg_pool2d(shown, size).flatten(1) * size for size in _SIZES]
    return torch.cat(smaller, dim=1)


def statistics(maps: Tensor) -> Tensor:
    """Means and covariances over positions of (B, C, h, w), as one vector (B, C + C²)."""
    flat = maps.float().flatten(2)
    mean = flat.mean(dim=2)
    centred = flat - mean[..., None]
    covariance = centred @ centred.mT / flat.shape[2]
    return torch.cat([_MEAN_WEIGHT * mean, covariance.flatten(1)], dim=1)


def _patches(networks: Networks, pictures: Tensor) -> Tensor:
    """Statistics of 3 × 3 patches of latents."""
    latents = networks.autoencoder.encode(pictures).float()
    return statistics(F.unfold(latents, 3)[..., None])


def _structure(networks: Networks, pictures: Tensor) -> Tensor:
    """What of the latents differs from the mean around: what foretells a mimic's fall."""
    return structure(networks.autoencoder.encode(pictures).float())


def _blocks(networks: Networks, pictures: Tensor) -> Tensor:
    """Latents averaged over blocks of 4 × 4 positions."""
    return F.avg_pool2d(networks.autoencoder.encode(pictures).float(), 4)


@cache
def _trunk() -> Callable[[Tensor], Sequence[Tensor]]:
    return load_metric("st-lpips-alex", torch.device("cpu")).trunk


def _textures(networks: Networks, pictures: Tensor) -> Tensor:
    """Channel statistics of D(Φ(x)) in layers of a perceptual trunk, as style transfer has them.

    No judge looks through this network (ST-LPIPS's AlexNet).
    """
    shown = _decoded(networks, pictures).float()
    with torch.autocast("cpu", enabled=False):
        layers = _trunk()(shown * 2 - 1)
        found = [statistics(layer) for layer in layers[1:4]]
    return torch.cat([own / own.shape[1] ** 0.5 for own in found], dim=1)


_NOISED = (150, 400, 650)  # times of the generator's noise


def _error(networks: Networks, pictures: Tensor) -> Tensor:
    """What the generator gets wrong of v, asked for nobody, at three times with noise of their own.

    Led away it grows, as AdvDM (Liang et al., ICML 2023) and StyleGuard have it; led towards, it
    becomes that of another picture, as in Mist v2 (Zheng et al., 2023).
    """
    generator, plan = networks.generator, schedule()
    if generator is None:
        raise ValueError("The features error need a generator, but none came.")
    latents = generator.normalised(networks.autoencoder.encode(pictures).float())
    nobody = generator.embedded([Prompt(NOBODY)] * len(latents))
    errors = []
    for time in _NOISED:
        random = torch.Generator().manual_seed(time)
        noise = torch.randn((1, *latents.shape[1:]), generator=random).expand_as(latents)
        times = torch.full((len(latents),), time)
        said = generator(plan.add_noise(latents, noise, times), times, nobody)
        errors.append(said - plan.get_velocity(latents, noise, times))
    return torch.cat(errors, dim=1)


_PLAIN: Mapping[str, Features] = {
    "latents": _latents,
    "decoded": _decoded,
    "sizes": _sizes,
    "patches": _patches,
    "structure": _structure,
    "error": _error,
    "blocks": _blocks,
    "textures": _textures,
}

SENT_QUALITY = 80.0
"""Of the smooth JPEG that ``sent …`` looks through; 4:2:0."""


def _as_loaded(features: Features) -> Features:
    return lambda networks, pictures: features(networks, area(pictures, TRAINED))


def _as_sent(features: Features) -> Features:
    def sent(networks: Networks, pictures: Tensor) -> Tensor:
        quality = torch.full((1,), SENT_QUALITY)
        with torch.autocast("cpu", enabled=False):
            coded: Tensor = jpeg_codec_differentiable(pictures.float().clamp(0, 1), quality)
        return features(networks, area(coded, TRAINED))

    return sent


FEATURES: Mapping[str, Features] = {
    **_PLAIN,
    **{f"loaded {name}": _as_loaded(features) for name, features in _PLAIN.items()},
    **{f"sent {name}": _as_sent(features) for name, features in _PLAIN.items()},
}
"""By name; ``latents`` is the published distance."""


def encoder_of(networks: Networks, name: str) -> Encoder:
    """An encoder for :func:`comfy_glaze.cloaking.cloak.optimize_cloak`.

    It computes in bfloat16 where that is quick (:func:`autoencoder.quick`); its latents differ from
    float32's by 0.0002 of their variance on paintings, 0.001 on engravings.

    Raises:
        ValueError: there are no such features.
    """
    if name not in FEATURES:
        raise ValueError(f"Expected features among {', '.join(FEATURES)}, but got {name}.")
    compute = FEATURES[name]

    def features(pictures: Tensor) -> Tensor:
        with quick():
            return compute(networks, pictures)

    return replace(networks.autoencoder.as_encoder(), name=f"taef2, {name}", features=features)
