"""How far each pixel may change, and where colour may change, so that the eye notices little.

Three facts about sight decide this:

- The eye tells lightness steps apart by their size in L*, not in grey levels (luminance adaptation;
  CIE 142-2001 weighs them by S_L).
- Texture hides changes of its own size (contrast masking; Legge & Foley, JOSA 1980, and the
  just-noticeable-difference models after Yang et al., Signal Processing: Image Communication 2005).
- On even ground nothing hides a change, least of all a change of colour.

Even ground therefore has a cap of its own, in ΔE, and only its grey changes.  The cap grows with
the contrast of the calmest neighbourhood that a pixel belongs to, so that the ground beside a line
stays as clean as the rest of it.  It falls again where the contrast is that of drawn lines, because
an edge hides less than texture (Yang et al. distinguish the two as well).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import LEVELS, bands, floats, wrapped
from .quality import local_deviation, luma

PATCH = 5
"""Pixels: side of the four squares that have a pixel in a corner; the calmest of them counts."""

SURROUND = 9
"""Pixels: side of the square centred on a pixel, whose contrast counts as well."""

COLOUR_FROM, COLOUR_FULL = 1.0, 2.0
"""Grey levels of contrast: colour may change above the first, and fully from the second."""

LIGHTNESS = 0.9
"""The share of a change of lightness that is kept at each step where colour may change.

It is below 1 because fine detail is seen far better in lightness than in colour (Mullen, J.
Physiol. 359, 1985).  With a smaller share the picture looks better still, but JPEG with halved
chroma then removes more of the cloak (``docs/robustness.md``).
"""

EDGE = 16.0
"""Grey levels: above this the contrast is taken for drawn lines, which hide less than texture."""

CAST = 8
"""Pixels: a change that is even over squares of this side is a colour cast, and is removed."""

_MARGIN = PATCH + SURROUND  # rows beside a band that its map depends on


@dataclass(frozen=True)
class Sight:
    """How a preset distributes its L∞ cap over the picture.

    Attributes:
        flat_delta_e: how far a pixel of even ground may change, roughly, in ΔE2000.
        masking: how many grey levels the cap grows by for each grey level of contrast.
        flat_levels: the most grey levels that even ground may change by, whatever its ΔE.
    """

    flat_delta_e: float
    masking: float
    flat_levels: int = 4

    def __post_init__(self) -> None:
        if not (self.flat_delta_e >= 0 and self.masking >= 0):
            raise ValueError(
                "flat_delta_e and masking must be 0 or more, "
                f"but got {self.flat_delta_e:g} and {self.masking:g}."
            )

    def for_coarse_changes(self) -> Sight:
        """The sight for a robust δ: even ground and texture may change half as much.

        A δ that survives JPEG and resizing is coarser than grain, and the eye sees coarse changes
        better (its contrast sensitivity peaks at a few cycles per degree; Campbell & Robson, 1968).
        """
        return replace(self, flat_delta_e=self.flat_delta_e / 2, masking=self.masking / 2)


def delta_e_per_level(grey: Tensor) -> Tensor:
    """ΔE2000 of a change by one grey level, for greys in [0, 1]; same shape as ``grey``.

    It is dL*/dlevel divided by CIEDE2000's lightness weight S_L.  Chroma has no part in it.
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

    This is the geometric mean of two standard deviations of luma: in the square around the pixel,
    and in the calmest of the four squares that have it in a corner.
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


def cap_map(images: Tensor, linf: float, sight: Sight, wraps: bool = False) -> Tensor:
    """The L∞ cap of each pixel, (B, 1, H, W), in whole grey levels as bytes, at most ``linf``.

    Even ground keeps at least one grey level, unless its ΔE is 0: then it does not change at all.

    Args:
        images: (B, 3, H, W) in [0, 1], or held as levels.
        linf: the largest cap, in [0, 1] units.
        wraps: whether the pictures repeat, so that their edges meet.
    """
    if wraps:
        around = cap_map(wrapped(images, _MARGIN), linf, sight)
        return around[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    cap = images.new_empty(len(images), 1, *images.shape[-2:], dtype=torch.uint8)
    largest = int(linf * LEVELS + 1e-3)
    least = min(1, largest) if sight.flat_delta_e > 0 else 0
    for band in bands(*images.shape[-2:]):
        above = min(band.top, _MARGIN)
        rows = slice(band.top - above, band.top + band.window_height + _MARGIN)
        part = floats(images[..., rows, :])
        even = sight.flat_delta_e / delta_e_per_level(luma(part))
        even = even.clamp_max(sight.flat_levels).floor()
        hiding = contrast(part)
        levels = (even + sight.masking * (hiding - 1).clamp_min(0)).clamp_max(largest)
        levels = torch.maximum(
            levels * (EDGE / hiding).clamp_max(1), even.clamp_max(sight.flat_levels / 2)
        )
        levels = levels.floor().clamp(least, largest)
        band.cut(cap).copy_(levels[..., above : above + band.window_height, :])
    return cap


def colour_map(images: Tensor, wraps: bool = False) -> Tensor:
    """How much of a change of colour may stay, (B, 1, H, W) from 0 (grey only) to 1."""
    if wraps:
        around = colour_map(wrapped(images, _MARGIN))
        return around[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return ((contrast(images) - COLOUR_FROM) / (COLOUR_FULL - COLOUR_FROM)).clamp(0, 1)


def less_visible(change: Tensor, colour: Tensor, lightness: float = LIGHTNESS) -> Tensor:
    """A change (B, 3, H, W) with less of what the eye sees first.

    It removes colour casts and colour on even ground, and reduces lightness where colour may
    change.  The map is linear, and its own transpose up to the interpolation of the cast, so it can
    be applied to a gradient as well.

    Args:
        colour: what :func:`colour_map` gave.
        lightness: the share of a change of lightness that is kept where colour may change.
    """
    height, width = change.shape[-2:]
    if min(height, width) >= 2 * CAST:
        cast = F.avg_pool2d(change, CAST, ceil_mode=True, count_include_pad=False)
        change = change - F.interpolate(cast, (height, width), mode="bilinear")
    grey = change.mean(dim=1, keepdim=True)
    return torch.lerp(grey, change - (1 - lightness) * grey, colour)
