"""The file of a cloaked picture: written, decoded again, and measured, until it keeps the cloak."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..cloaking.cloak import Cloak
from ..cloaking.measures import Comparison, Measures
from ..files.artwork import load_artwork, save_artwork, saved_view
from ..files.formats import DEEP, ArtworkError, named
from ..files.options import SaveOptions
from ..images import as_held, floats, to_grid
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric, load_metric
from .cloaked import CloakedPicture

WEAKER = (1.0, 0.9, 0.8, 0.65, 0.5, 0.25, 0.0)
"""Shares of a cloak that are tried where a wide colour space does not have all of its levels."""


@dataclass(frozen=True, eq=False)
class PictureFile:
    """What a picture's file holds.

    Attributes:
        cloak: as a lossless file shows it.
        options: with the real format, and the quality that was needed.
        bits: per channel.
        encoded: of a lossy file, the measures of the decoded pixels; None for a lossless one.
        survived: whether a lossy file keeps as much of the shift as was asked.
    """

    cloak: Cloak
    options: SaveOptions
    bits: int
    encoded: Measures | None = None
    survived: bool = True


def write_picture(
    picture: CloakedPicture,
    path: Path,
    options: SaveOptions,
    encoder: Encoder,
    metric: PerceptualMetric | None = None,
    shown_as: Path | None = None,
) -> PictureFile:
    """Write a cloaked picture; a lossy file anew at a higher quality while it loses too much.

    Args:
        options: with the file's real format.
        encoder, metric: measure a lossy file; the metric is loaded where it is needed and not
            given.
        shown_as: the file that errors name, where ``path`` is a temporary name for it.

    Raises:
        ArtworkError: it cannot be written, or the pixels that came back are others.
    """
    if not math.isfinite(picture.cloak.measures[0].shift_512):
        raise ArtworkError(f"{encoder.name} must give numbers, but it gave NaN or infinity.")
    comparison = _when_needed(picture, encoder, metric)
    pixels, cloak = _fitted(picture, options.format, comparison)
    encoded, survived = None, True
    while True:
        save_artwork(pixels, picture.artwork, path, options, shown_as)
        held = cloak.images.dtype == torch.uint8
        came = load_artwork(path, shown_as, held=held).pixels
        if options.is_lossless and not torch.equal(came, cloak.images.cpu()):
            name = named(shown_as or path)
            raise ArtworkError(f"{name} must hold the pixels written to it, but others came back.")
        if options.is_lossless and encoded is None:
            break
        encoded = comparison().measure(came.to(encoder.device))[0]
        survived = _survives(encoded, cloak.measures[0], options.keep_shift)
        if survived or options.quality == 100:
            break
        options = replace(options, quality=(options.quality + 101) // 2)
    return PictureFile(cloak, options, _bits(picture, options.format), encoded, survived)


def _when_needed(
    picture: CloakedPicture, encoder: Encoder, metric: PerceptualMetric | None
) -> Callable[[], Comparison]:
    """What measures the file, made when it is first asked for: a lossless file needs none."""

    @functools.cache
    def comparison() -> Comparison:
        cloak, device = picture.cloak, encoder.device
        known = metric
        if known is None and cloak.budget.metric != "none":
            known = load_metric(cloak.budget.metric, device)
        images = picture.original.to(device), picture.styled.to(device)
        settings = cloak.settings
        return Comparison.of(*images, encoder, known, settings.objective, settings.tile)

    return comparison


def _fitted(
    picture: CloakedPicture, format: str, comparison: Callable[[], Comparison]
) -> tuple[Tensor, Cloak]:
    """The pixels to save, and the cloak as the file will show it.

    They differ where a wide colour space does not have the cloak's levels; then the cloak is
    measured anew, and made weaker until it is inside its limit again.
    """
    cloak, pixels = picture.cloak, picture.cloak.images.cpu()
    view = saved_view(pixels, picture.artwork, format)
    if torch.equal(view, pixels):
        return pixels, cloak
    original, limit = floats(picture.original.cpu()), cloak.budget.limit
    delta = floats(pixels) - original
    for share in WEAKER:
        pixels = as_held(to_grid(original + share * delta), picture.cloak.images)
        view = saved_view(pixels, picture.artwork, format)
        measures = comparison().measure(view.to(comparison().encoder.device))
        if measures[0].perceptual is None or measures[0].perceptual <= limit:
            break
    return pixels, replace(cloak, images=view, measures=measures)


def _survives(encoded: Measures, cloak: Measures, keep_shift: float) -> bool:
    """Whether a decoded file keeps the asked share of a cloak's shift, at both scales."""
    pairs = (
        (encoded.shift_512, cloak.shift_512),
        (encoded.shift_native, cloak.shift_native),
    )
    return all(after >= keep_shift * before for after, before in pairs if before > 0)


def _bits(picture: CloakedPicture, format: str) -> int:
    if format not in DEEP:
        return 8
    return min(picture.artwork.bits, 12 if format == "avif" else 16)
