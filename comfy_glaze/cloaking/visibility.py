"""Where the eye does not look: how far each pixel may go, and where colour may change.

Three facts about sight shape a cloak.  The eye tells lightness steps apart by the step in L*, not
in grey levels (luminance adaptation; CIE 142-2001 weighs them by S_L).  Texture hides changes of
its own size (contrast masking; Legge & Foley, JOSA 1980, and the just-noticeable-difference models
after Yang et al., Signal Processing: Image Communication 2005).  And on even ground nothing hides
a change, least of all one of colour.  So even ground gets a cap of its own, in ΔE, and only grey
changes; the cap grows with the contrast of the calmest neighbourhood a pixel belongs to, so that
the ground beside a line stays as clean as the rest of it, and falls again where the contrast is
that of drawn lines, because an edge hides less than texture (Yang et al. tell the two apart, too).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import LEVELS, bands
from .quality import local_deviation, luma

PATCH = 5
"""Pixels: the side of the four squares that meet in a pixel, of which the calmest counts."""

SURROUND = 9
"""Pixels: the side of the square around a pixel whose contrast counts as well."""

COLOUR_FROM, COLOUR_FULL = 1.0, 2.0
"""Grey levels of contrast from which colour may change a little, and fully."""

LIGHTNESS = 0.9
"""The share of a change of lightness that stays, at each step, where colour may change: fine
detail is seen far better in lightness than in colour (Mullen, J. Physiol. 359, 1985).  Less of it
looks better still, and is gone after any JPEG with halved chroma (``docs/robustness.md``)."""

EDGE = 16.0
"""Grey levels of contrast above which it is drawn lines more than texture, and hides less."""

CAST = 8
"""Pixels: changes that are even over squares of this side are a cast, and are left out."""

_MARGIN = PATCH + SURROUND  # rows beside a band that its map depends on


@dataclass(frozen=True)
class Sight:
    """How a preset spends its L∞ cap.

    Attributes:
        flat_delta_e: ΔE2000, roughly, that a pixel of even ground may change by.
        masking: grey levels that the cap grows by for each grey level of contrast.
    """

    flat_delta_e: float
    masking: float

    def __post_init__(self) -> None:
        if not (self.flat_delta_e >= 0 and self.masking >= 0):
            raise ValueError(
                "flat_delta_e and masking must be 0 or more, "
                f"but got {self.flat_delta_e:g} and {self.masking:g}."
            )

    def for_coarse_changes(self) -> Sight:
        """The same for a robust δ: even ground and texture get half as much.

        What survives JPEG and resizing is coarser than grain, and there the eye sees more (its
        contrast sensitivity peaks at a few cycles per degree; Campbell & Robson, 1968).
        """
        return Sight(self.flat_delta_e / 2, self.masking / 2)


def delta_e_per_level(grey: Tensor) -> Tensor:
    """ΔE2000 of one grey level's change of a grey in [0, 1], same shape.

    dL*/dlevel over CIEDE2000's lightness weight S_L; chroma has no part in it.
    """
    dark = grey <= 0.04045
    base = ((grey + 0.055) / 1.055).clamp_min(1e-6)
    linear = torch.where(dark, grey / 12.92, base**2.4)
    slope = torch.where(dark, torch.full_like(grey, 1 / 12.92), 2.4 / 1.055 * base**1.4)
    low = linear <= 216 / 24389
    root = linear.clamp_min(1e-6) ** (1 / 3)
    lightness = torch.where(low, linear * 24389 / 27, 116 * root - 16)
    gain = torch.where(low, torch.full_like(grey, 24389 / 27), 116 / 3 / root**2)
    off = (lightness - 50).square()
    return slope * gain / (1 + 0.015 * off / (20 + off).sqrt()) / LEVELS


def contrast(images: Tensor) -> Tensor:
    """How much each pixel's surroundings can hide, (B, 1, H, W) in grey levels.

    The geometric mean of the luma deviations around it and in the calmest of the four squares that
    have it in a corner.
    """
    grey = luma(images)
    around = local_deviation(grey, SURROUND)
    patches = local_deviation(grey, PATCH)
    reach, (height, width) = PATCH // 2, grey.shape[-2:]
    padded = F.pad(patches, 4 * (reach,), mode="replicate")
    calmest = torch.stack(
        [
            padded[..., top : top + height, left : left + width]
            for top in (0, 2 * reach)
            for left in (0, 2 * reach)
        ]
    ).amin(dim=0)
    return (calmest * around).sqrt() * LEVELS


def cap_map(images: Tensor, linf: float, sight: Sight) -> Tensor:
    """The L∞ cap of each pixel, (B, 1, H, W), in whole grey levels as bytes, at most ``linf``.

    Even ground keeps at least one grey level, unless its ΔE is 0: then it does not change at all.

    Args:
        images: (B, 3, H, W) in [0, 1].
        linf: the largest cap, in [0, 1] units.
    """
    cap = images.new_empty(len(images), 1, *images.shape[-2:], dtype=torch.uint8)
    largest = int(linf * LEVELS + 1e-3)
    least = min(1, largest) if sight.flat_delta_e > 0 else 0
    for band in bands(*images.shape[-2:]):
        above = min(band.top, _MARGIN)
        rows = slice(band.top - above, band.top + band.window_height + _MARGIN)
        part = images[..., rows, :]
        even = (sight.flat_delta_e / delta_e_per_level(luma(part))).clamp_max(4).floor()
        hiding = contrast(part)
        levels = (even + sight.masking * (hiding - 1).clamp_min(0)).clamp_max(largest)
        levels = torch.maximum(levels * (EDGE / hiding).clamp_max(1), even.clamp_max(2))
        levels = levels.floor().clamp(least, largest)
        band.cut(cap).copy_(levels[..., above : above + band.window_height, :])
    return cap


def colour_map(images: Tensor) -> Tensor:
    """How much of a change of colour may stay, (B, 1, H, W) from 0 (grey only) to 1."""
    return ((contrast(images) - COLOUR_FROM) / (COLOUR_FULL - COLOUR_FROM)).clamp(0, 1)


def less_visible(change: Tensor, colour: Tensor, lightness: float = LIGHTNESS) -> Tensor:
    """A change (B, 3, H, W) with less of what the eye sees first.

    That is casts, colour on even ground, and lightness where colour may take its place.  Linear,
    and its own transpose up to the cast's interpolation, so that it serves a gradient, too.

    Args:
        colour: what :func:`colour_map` gave.
        lightness: the share of a change of lightness that stays where colour may change.
    """
    height, width = change.shape[-2:]
    if min(height, width) >= 2 * CAST:
        cast = F.avg_pool2d(change, CAST, ceil_mode=True, count_include_pad=False)
        change = change - F.interpolate(cast, (height, width), mode="bilinear")
    grey = change.mean(dim=1, keepdim=True)
    return torch.lerp(grey, change - (1 - lightness) * grey, colour)
