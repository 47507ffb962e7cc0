"""What a cloak achieves and costs, measured on pixels that a file holds.

Words (all per image): the feature distance d(a, b) is the mean over feature elements of (a − b)²;
the shift is s = 1 − d(Φ(cloaked), Φ(styled)) / d(Φ(original), Φ(styled)), 0 for an untouched
picture and 1 when the features are the styled picture's.  Both are taken on the views of
:func:`comfy_glaze.images.views_of`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .encoders import Encoder
from .images import View, check_images, views_of
from .perceptual import PerceptualMetric, Reference


@dataclass(frozen=True)
class Measures:
    """The measures of one cloaked picture.

    Attributes:
        shift_512: shift of the whole picture, its short side at 512 px (smaller ones as they are).
        shift_native: mean shift over native 512 px tiles; the same number for small pictures.
        perceptual: the metric's worst value over all views; None without a metric.
        linf: largest change of a pixel value, in [0, 1] units (8/255 means eight grey levels).
        psnr: peak signal-to-noise ratio in dB; None when nothing changed.
        distance_before, distance_after: feature distances to the styled picture, whole picture.
    """

    shift_512: float
    shift_native: float
    perceptual: float | None
    linf: float
    psnr: float | None
    distance_before: float
    distance_after: float


def feature_distance(features: Tensor, others: Tensor) -> Tensor:
    """d(a, b), (B,): the mean over all feature elements of (a − b)².

    Differs: Eq. 2 writes the squared L2 norm; the mean is the same up to a constant per picture and
    makes sizes comparable.
    """
    return (features - others).square().flatten(1).mean(dim=1)


def pixel_change(original: Tensor, cloaked: Tensor) -> tuple[list[float], list[float | None]]:
    """L∞ in [0, 1] units and PSNR in dB of each image; no PSNR where nothing changed."""
    change = (cloaked - original).flatten(1).cpu()  # not every device knows float64
    powers = change.double().square().mean(dim=1).tolist()
    psnr = [-10 * math.log10(power) if power > 0 else None for power in powers]
    return change.abs().amax(dim=1).tolist(), psnr


@torch.no_grad()
def worst_perceptual(original: Tensor, cloaked: Tensor, metric: PerceptualMetric) -> Tensor:
    """The metric's worst value over all views, (B,)."""
    values = [
        metric.distance(metric.reference(view.of(original)), view.of(cloaked))
        for view in views_of(*original.shape[-2:])
    ]
    return torch.stack(values).amax(dim=0)


@dataclass(frozen=True, eq=False)
class ViewTarget:
    """One view of a picture, with what never changes while its cloak does.

    Attributes:
        view: the window and its scale.
        styled: features of the styled picture in this view, (B, C, h, w).
        before: feature distance (B,) of the untouched original from them; of a native tile at least
            5% of the whole picture's, so that a tile which the style hardly touches counts little.
        reference: the metric's features of the original; None without a metric.
    """

    view: View
    styled: Tensor
    before: Tensor
    reference: Reference | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """An original and its styled picture, ready to be compared with many cloaked ones.

    Attributes:
        original: images (B, 3, H, W) in [0, 1].
        targets: one per view, the whole picture first.
        encoder, metric: what measures; the metric may be None.
    """

    original: Tensor
    targets: tuple[ViewTarget, ...]
    encoder: Encoder
    metric: PerceptualMetric | None

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        original: Tensor,
        styled: Tensor,
        encoder: Encoder,
        metric: PerceptualMetric | None,
    ) -> Comparison:
        """Compute everything that stays the same.

        Raises:
            ValueError: wrong range or shape, sizes that differ, or a styled picture whose features
                are those of the original, so that there is nowhere to move.
        """
        check_images(original, "images")
        check_images(styled, "styled")
        if styled.shape != original.shape:
            raise ValueError(
                f"styled must have the size of the images, {tuple(original.shape)}, "
                f"but it has {tuple(styled.shape)}."
            )
        targets: list[ViewTarget] = []
        for view in views_of(*original.shape[-2:]):
            seen = view.of(original)
            features = encoder(view.of(styled))
            before = feature_distance(encoder(seen), features)
            if not targets and not bool((before > 1e-12).all()):
                raise ValueError(
                    "The styled picture must differ from the original, but the encoder sees the "
                    "same features in both."
                )
            if targets:  # a tile that the style hardly touches must not outweigh all others
                before = torch.maximum(before, 0.05 * targets[0].before)
            reference = metric.reference(seen) if metric else None
            targets.append(ViewTarget(view, features, before, reference))
        return cls(original, tuple(targets), encoder, metric)

    @torch.no_grad()
    def perceptual(self, images: Tensor) -> Tensor:
        """The metric's worst value over all views, (B,); zeros without a metric."""
        worst = torch.zeros(images.shape[0], device=images.device)
        for target in self.targets:
            if self.metric and target.reference is not None:
                value = self.metric.distance(target.reference, target.view.of(images))
                worst = torch.maximum(worst, value)
        return worst

    @torch.no_grad()
    def measure(self, cloaked: Tensor) -> tuple[Measures, ...]:
        """Measure cloaked pictures (B, 3, H, W) in [0, 1], one result per image."""
        after = torch.stack(
            [
                feature_distance(self.encoder(target.view.of(cloaked)), target.styled)
                for target in self.targets
            ]
        )
        before = torch.stack([target.before for target in self.targets])
        shift = 1 - after / before
        native = torch.tensor([target.view.native for target in self.targets])
        shift_native = shift[native].mean(dim=0)
        perceptual = self.perceptual(cloaked)
        linf, psnr = pixel_change(self.original, cloaked)
        return tuple(
            Measures(
                shift_512=float(shift[0, i]),
                shift_native=float(shift_native[i]),
                perceptual=float(perceptual[i]) if self.metric else None,
                linf=linf[i],
                psnr=psnr[i],
                distance_before=float(before[0, i]),
                distance_after=float(after[0, i]),
            )
            for i in range(cloaked.shape[0])
        )
