"""What a cloak achieves and costs, measured on pixels that a file holds.

Words (all per image): the feature distance d(a, b) is the mean over feature elements of (a − b)²;
the shift is s = 1 − d(Φ(cloaked), Φ(styled)) / d(Φ(original), Φ(styled)), 0 for an untouched
picture and 1 when the features are the styled picture's.  Over several views both distances are
summed before they are divided.  All is taken on the views of
:func:`comfy_glaze.cloaking.views.measured_views`, one after another, so that a large picture needs
no more memory than one view does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..images import bands, floats
from ..networks.perceptual import PerceptualMetric
from .views import measured_views


@dataclass(frozen=True)
class MemberShift:
    """What one of several encoders sees of a cloak.

    Attributes:
        name, fingerprint, family: of the encoder.
        shift_512, shift_native, distance_before, distance_after, changed: as of :class:`Measures`.
    """

    name: str
    fingerprint: str
    family: str
    shift_512: float
    shift_native: float
    distance_before: float
    distance_after: float
    changed: float


@dataclass(frozen=True)
class Measures:
    """The measures of one cloaked picture.

    Attributes:
        shift_512: shift of the whole picture, its short side at 512 px (smaller ones as they are),
            or of all panels of a strip together.
        shift_native: shift of the measured native 512 px tiles together, 1 − Σ after / Σ before;
            the same number as ``shift_512`` for small pictures, and where the style leaves all
            measured tiles as they are.
        perceptual: the metric's worst value over the measured views; None without a metric.
        linf: largest change of a pixel value, in [0, 1] units (8/255 means eight grey levels).
        psnr: peak signal-to-noise ratio in dB; None when nothing changed.
        distance_before, distance_after: feature distances to the styled picture, of the whole
            picture without and with the cloak; of a strip, the mean over its area.
        changed: at what share of the places the features' fine structure changed by more than there
            was, in the whole picture after an upload (see :mod:`comfy_glaze.cloaking.effect`); of a
            strip, the mean over its area.
        tiles, tiles_measured: how many native tiles cover the picture (0 for a small one), and how
            many of them were measured.
        encoders: where Φ stands for several encoders, what each of them sees, the least shift
            first; then shifts and distances above are those of the first.
    """

    shift_512: float
    shift_native: float
    perceptual: float | None
    linf: float
    psnr: float | None
    distance_before: float
    distance_after: float
    changed: float
    tiles: int = 0
    tiles_measured: int = 0
    encoders: tuple[MemberShift, ...] = ()

    @property
    def least_changed(self) -> float:
        """``changed``, of several encoders the least."""
        return min((member.changed for member in self.encoders), default=self.changed)


def feature_distance(features: Tensor, others: Tensor) -> Tensor:
    """d(a, b), (B,): the mean over all feature elements of (a − b)².

    Differs: Eq. 2 has the squared L2 norm.  The mean differs from it only by a factor that depends
    on the picture's size, and makes pictures of different sizes comparable.
    """
    return (features - others).square().flatten(1).mean(dim=1)


def pixel_change(original: Tensor, cloaked: Tensor) -> tuple[list[float], list[float | None]]:
    """L∞ in [0, 1] units and PSNR in dB of each image; the PSNR is None where nothing changed."""
    powers = torch.zeros(len(original), dtype=torch.float64)
    linf = torch.zeros(len(original))
    for band in bands(*original.shape[-2:]):
        # on the CPU, because not every device knows float64
        change = (floats(band.cut(cloaked)) - floats(band.cut(original))).flatten(1).cpu()
        powers += change.double().square().sum(dim=1)
        linf = torch.maximum(linf, change.abs().amax(dim=1).float())
    powers /= original[0].numel()
    psnr = [-10 * math.log10(power) if power > 0 else None for power in powers.tolist()]
    return linf.tolist(), psnr


@torch.no_grad()
def worst_perceptual(original: Tensor, cloaked: Tensor, metric: PerceptualMetric) -> Tensor:
    """The metric's worst value over the measured views, (B,)."""
    values = [
        metric.distance(metric.reference(view.of(original)), view.of(cloaked))
        for view in measured_views(original)
    ]
    return torch.stack(values).amax(dim=0)
