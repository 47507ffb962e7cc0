"""Style without CLIP: channel statistics, Gram matrices, a kernel distance, and artifacts.

The trunk is one that a package carries (:mod:`comfy_glaze.networks.perceptual`), so that these
measures need no model hub.  ``st-lpips-vgg`` is the default: another network than the one that
usually bounds a cloak (``st-lpips-alex``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import LEVELS, shrink
from ..networks.perceptual import PERCEPTUAL_METRICS, PerceptualMetric, load_metric
from .intervals import Interval

SIDE = 256
"""Short side in pixels at which pictures are looked at; smaller ones as they are."""


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """One feature vector per picture.

    Attributes:
        name: of the network, for the tables.
        features: images (B, 3, H, W) in [0, 1] to (B, D).
        device: where it computes.
    """

    name: str
    features: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.no_grad()
    def of(self, pictures: Iterable[Tensor]) -> Tensor:
        """Features (N, D), float32 on the CPU, of pictures (1, 3, H, W) of any size."""
        rows = [self.features(shrink(p, SIDE).to(self.device)).float().cpu() for p in pictures]
        if not rows:
            raise ValueError("Features need at least one picture, but none was given.")
        return torch.cat(rows)


def channel_statistics(metric: PerceptualMetric, images: Tensor) -> Tensor:
    """Mean and standard deviation of every channel of every layer, (B, D).

    Pooling over positions forgets what is where, which is content, and keeps texture and palette.
    """
    layers = [layer.flatten(2) for layer in metric.reference(images)]
    return torch.cat([torch.cat([x.mean(2), x.std(2, correction=0)], dim=1) for x in layers], dim=1)


def load_features(
    name: str = "st-lpips-vgg", device: torch.device | str = "cpu"
) -> FeatureExtractor:
    """An extractor by name.

    Args:
        name: a key of :data:`comfy_glaze.networks.perceptual.PERCEPTUAL_METRICS`, or a transformers
            model with an image tower (CLIP, SigLIP, DINO ...): a folder or a hub id.

    Raises:
        ValueError: neither a metric nor a model.
    """
    device = torch.device(device)
    if name in PERCEPTUAL_METRICS:
        metric = load_metric(name, device)
        return FeatureExtractor(name, lambda images: channel_statistics(metric, images), device)
    from ..networks.transformers_models import load_image_tower

    return FeatureExtractor(Path(name).name, load_image_tower(name, device), device)


def grams(
    metric: PerceptualMetric, pictures: Iterable[Tensor], device: torch.device
) -> list[Tensor]:
    """Gram matrices of unit-normalised features, per layer (N, C, C), on the CPU.

    Args:
        pictures: images (1, 3, H, W) in [0, 1].
        device: where the metric is.
    """
    rows: list[list[Tensor]] = []
    for picture in pictures:
        layers = [x.flatten(2) for x in metric.reference(shrink(picture, SIDE).to(device))]
        rows.append([(x @ x.mT / x.shape[2]).cpu() for x in layers])
    return [torch.cat(layer) for layer in zip(*rows, strict=True)]


def style_distances(made: Sequence[Tensor], works: Sequence[Tensor]) -> Tensor:
    """How far each picture's Gram matrices are from the works' mean ones, (N,).

    The squared Frobenius distance over the squared norm of the works', averaged over layers: 0 for
    the same texture statistics.  It means something next to the value of other works of the same
    artist, which is why every table carries that too.

    Args:
        made, works: what :func:`grams` gave.
    """
    total = torch.zeros(len(made[0]))
    for own, other in zip(made, works, strict=True):
        mean = other.mean(dim=0)
        total += (own - mean).square().sum((1, 2)) / mean.square().sum()
    return total / len(made)


def kernel_distance(first: Tensor, second: Tensor, draws: int = 200, seed: int = 0) -> Interval:
    """KID's unbiased MMD² with the kernel (x·y/D + 1)³ between two sets of features (N, D).

    Differs: KID names Inception features and draws subsets of 1,000; here the features are the
    caller's, so values compare only within a table.  Features are centred on ``first`` and divided
    by its mean spread, which leaves a bias upwards where ``first`` is small.  The interval comes
    from random halves of both sets, so it is wider than it must be.

    Raises:
        ValueError: fewer than four pictures in a set.
    """
    if min(len(first), len(second)) < 4:
        raise ValueError(
            f"A kernel distance needs four pictures in each set, but got {len(first)} and "
            f"{len(second)}."
        )
    both = (torch.cat([first, second]) - first.mean(dim=0)).double()
    both /= both[: len(first)].square().mean().sqrt().clamp_min(1e-12)
    kernel = (both @ both.T / both.shape[1] + 1).pow(3)
    random = np.random.default_rng(seed)
    sizes, values = (len(first), len(second)), []
    for _ in range(draws):
        a, b = (random.permutation(n)[: n // 2] for n in sizes)
        values.append(_mmd(kernel, a, b + sizes[0]))
    low, high = np.quantile(values, [0.025, 0.975])
    whole = _mmd(kernel, np.arange(sizes[0]), np.arange(sizes[1]) + sizes[0])
    return Interval(whole, float(low), float(high), sum(sizes), sum(sizes))


def _mmd(kernel: Tensor, a: Any, b: Any) -> float:
    # not torchmetrics' poly_mmd: it divides by the first set's size throughout, and ours differ
    def within(index: Any) -> float:
        part = kernel[index][:, index]
        return float((part.sum() - part.trace()) / (len(index) * (len(index) - 1)))

    return within(a) + within(b) - 2 * float(kernel[a][:, b].mean())


def noise_level(images: Tensor) -> Tensor:
    """The artifact measure: how much fine grain a picture has, in grey levels, (B,).

    Immerkær's estimate (1996) of the standard deviation of white noise, from a mask that no smooth
    surface or straight edge excites.  Real texture counts too: compare with the artist's own works.
    """
    mask = images.new_tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    response = F.conv2d(images, mask.expand(3, 1, 3, 3), groups=3).abs().mean(dim=(1, 2, 3))
    return math.sqrt(math.pi / 2) / 6 * response * LEVELS
