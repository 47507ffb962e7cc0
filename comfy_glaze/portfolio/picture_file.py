"""The file of a cloaked picture: written, decoded again, and measured, until it keeps the cloak."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..cloaking.cloak import Cloak
from ..cloaking.measures import Comparison, Led, Measures
from ..files.artwork import load_artwork, save_artwork, saved_view
from ..files.formats import DEEP, ArtworkError, named
from ..files.options import SaveOptions
from ..images import as_held, floats, to_grid
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric, load_metric
from .cloaked import CloakedPicture
from .few_colours import within_a_palette
from .smaller import coarser, smallest_loss, sparser

WEAKER = (1.0, 0.9, 0.8, 0.65, 0.5, 0.25, 0.0)
"""Shares of a cloak that are tried where a file cannot have all of its levels."""

LEAST_QUALITY = 40
"""Of a lossy file that must be small; below it the picture itself is spoilt."""


@dataclass(frozen=True, eq=False)
class PictureFile:
    """What a picture's file holds.

    Attributes:
        cloak: as a lossless file shows it.
        options: with the real format, and the quality that was needed.
        bits: per channel.
        encoded: of a lossy file, the measures of the decoded pixels; None for a lossless one.
        survived: whether a lossy file keeps as much of the shift as was asked.
        size: bytes.
        made_smaller: what it lost to be small enough, as a clause; empty for nothing.
        in_palette: whether the cloak was brought into a palette.
    """

    cloak: Cloak
    options: SaveOptions
    bits: int
    encoded: Measures | None = None
    survived: bool = True
    size: int = 0
    made_smaller: str = ""
    in_palette: bool = False


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A picture, and where and how it is written."""

    picture: CloakedPicture
    path: Path
    shown_as: Path | None
    comparison: Callable[[], Comparison]

    @property
    def name(self) -> str:
        return named(self.shown_as or self.path)

    def size(self, pixels: Tensor, options: SaveOptions) -> int:
        """Write pixels, and tell how large the file is."""
        save_artwork(pixels, self.picture.artwork, self.path, options, self.shown_as)
        return self.path.stat().st_size

    def came_back(self) -> Tensor:
        held = self.picture.cloak.images.dtype == torch.uint8
        return load_artwork(self.path, self.shown_as, held=held).pixels

    def measured(self, pixels: Tensor, led: Sequence[Led] | None = None) -> tuple[Measures, ...]:
        comparison = self.comparison()
        return comparison.measure(pixels.to(comparison.encoder.device), led=led)

    def led(self, pixels: Tensor) -> tuple[Led, ...]:
        comparison = self.comparison()
        return comparison.led(pixels.to(comparison.encoder.device))

    def too_large(self, allowed: int) -> ArtworkError:
        return ArtworkError(
            f"{self.name}: expected at most {allowed} bytes, but no file with a cloak in it is so "
            "small; allow more, or take another format."
        )


def write_picture(
    picture: CloakedPicture,
    path: Path,
    options: SaveOptions,
    encoder: Encoder,
    metric: PerceptualMetric | None = None,
    shown_as: Path | None = None,
) -> PictureFile:
    """Write a cloaked picture; a lossy file anew at a higher quality while it loses too much.

    Where a size is not to be exceeded, it counts more than the cloak: a lossy file is written at
    the highest quality that fits, and a lossless one with as much of the cloak as fits.

    Args:
        options: with the file's real format and quality.
        encoder, metric: measure a lossy file; the metric is loaded where it is needed and not
            given.
        shown_as: the file that errors name, where ``path`` is a temporary name for it.

    Raises:
        ArtworkError: it cannot be written, is too large without any of the cloak, or the pixels
            that came back are others.
    """
    if not math.isfinite(picture.cloak.measures[0].shift_512):
        raise ArtworkError(f"{encoder.name} must give numbers, but it gave NaN or infinity.")
    attempt = _Attempt(picture, path, shown_as, _when_needed(picture, encoder, metric))
    write = _write_lossless if options.is_lossless else _write_lossy
    return write(attempt, options)


def _write_lossy(attempt: _Attempt, options: SaveOptions) -> PictureFile:
    picture = attempt.picture
    pixels, cloak, _ = _fitted(attempt, options.format, keep_palette=False)
    allowed = options.max_size.of(picture.artwork.size) if options.max_size else None
    written, made_smaller = _kept(attempt, pixels, cloak, options, allowed), ""
    if allowed is not None and written.size > allowed:
        least = min(options.real_quality, LEAST_QUALITY)
        loss = smallest_loss(
            lambda loss: attempt.size(pixels, replace(options, quality=100 - loss)) <= allowed,
            100 - written.options.real_quality,
            100 - least,
        )
        if loss is None:
            raise attempt.too_large(allowed)
        written = _written(attempt, pixels, cloak, replace(options, quality=100 - loss))
        made_smaller = f"the quality is {100 - loss}"
    encoded = attempt.measured(attempt.came_back(), written.led)[0]
    bits, quality = _bits(picture, options.format), written.options
    return PictureFile(cloak, quality, bits, encoded, written.survived, written.size, made_smaller)


@dataclass(frozen=True, eq=False)
class _Written:
    """A lossy file as it was written last: with which options, how large it is, how far it leads
    each encoder, and whether it keeps as much of the shift as was asked."""

    options: SaveOptions
    size: int
    led: tuple[Led, ...]
    survived: bool


def _written(attempt: _Attempt, pixels: Tensor, cloak: Cloak, options: SaveOptions) -> _Written:
    size = attempt.size(pixels, options)
    led = attempt.led(attempt.came_back())
    return _Written(options, size, led, _survives(led, cloak.measures[0], options.keep_shift))


def _kept(
    attempt: _Attempt, pixels: Tensor, cloak: Cloak, options: SaveOptions, allowed: int | None
) -> _Written:
    """The file at the least quality that was tried at which it keeps what was asked, or at 100
    where none does; or the first that is larger than allowed."""

    def at(quality: int) -> _Written:
        return _written(attempt, pixels, cloak, replace(options, quality=quality))

    def ends(written: _Written) -> bool:
        return written.survived or (allowed is not None and written.size > allowed)

    quality = options.real_quality
    written = at(quality)
    if ends(written) or quality == 100:
        return written
    if allowed is None and not (best := at(100)).survived:
        return best  # what lies between is not worth the time
    while True:
        quality = (quality + 101) // 2
        written = at(quality)
        if ends(written) or quality == 100:
            return written


def _write_lossless(attempt: _Attempt, options: SaveOptions) -> PictureFile:
    picture = attempt.picture
    pixels, cloak, in_palette = _fitted(attempt, options.format, keep_palette=True)
    size = attempt.size(pixels, options)
    allowed = options.max_size.of(picture.artwork.size) if options.max_size else None
    made_smaller = ""
    if allowed is not None and size > allowed:
        coarse = coarser(pixels, picture.original.cpu())
        fitting = [
            found
            for whole, lost in ((pixels, ""), (coarse, "the cloak has half as many levels"))
            if (found := _fitting(attempt, whole, cloak, options, allowed, lost)) is not None
        ]
        if not fitting:
            raise attempt.too_large(allowed)
        pixels, cloak, made_smaller = max(fitting, key=lambda found: found[1].measures[0].shift_512)
        size = attempt.size(pixels, options)
    if not torch.equal(attempt.came_back(), cloak.images.cpu()):
        raise ArtworkError(
            f"{attempt.name} must hold the pixels written to it, but others came back."
        )
    return PictureFile(
        cloak,
        options,
        _bits(picture, options.format),
        size=size,
        made_smaller=made_smaller,
        in_palette=in_palette,
    )


def _fitting(
    attempt: _Attempt, whole: Tensor, cloak: Cloak, options: SaveOptions, allowed: int, lost: str
) -> tuple[Tensor, Cloak, str] | None:
    """As many squares of a cloaked picture as fit into a lossless file, what the file shows, and
    what was lost, ``lost`` included; None where none fits."""
    picture = attempt.picture
    original = picture.original.cpu()

    def fits(loss: int) -> bool:
        return attempt.size(sparser(whole, original, 1 - loss / 100), options) <= allowed

    least = smallest_loss(fits, 0, 99)
    if least is None:
        return None
    for loss in range(least, 100):  # until it is inside its limit, as it nearly always is
        pixels = sparser(whole, original, 1 - loss / 100)
        view = saved_view(pixels, picture.artwork, options.format)
        cloak = replace(cloak, images=view, measures=attempt.measured(view))
        value = cloak.measures[0].perceptual
        if value is None or value <= cloak.budget.limit:
            break
    losses = [lost] if lost else []
    losses += ["the calmer places have no cloak"] if loss else []
    return pixels, cloak, " and ".join(losses)


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


def _fitted(attempt: _Attempt, format: str, keep_palette: bool) -> tuple[Tensor, Cloak, bool]:
    """The pixels to save, the cloak as the file will show it, and whether it is in a palette.

    They differ where a wide colour space does not have the cloak's levels, or a palette not its
    colours; then the cloak is measured anew, and made weaker until it is inside its limit again.
    """
    picture = attempt.picture
    cloak, artwork = picture.cloak, picture.artwork
    pixels = cloak.images.cpu()
    wants_palette = keep_palette and cloak.settings.few_colours != "free"

    def held(wanted: Tensor) -> tuple[Tensor, bool]:
        few = within_a_palette(wanted, artwork) if wants_palette else None
        return (wanted, False) if few is None else (few, True)

    found, in_palette = held(pixels)
    view = saved_view(found, artwork, format)
    if torch.equal(view, pixels):
        return pixels, cloak, in_palette
    original, limit = floats(picture.original.cpu()), cloak.budget.limit
    delta = floats(pixels) - original
    for share in WEAKER:
        weaker = as_held(to_grid(original + share * delta), cloak.images)
        found, in_palette = held(weaker)
        view = saved_view(found, artwork, format)
        measures = attempt.measured(view)
        if measures[0].perceptual is None or measures[0].perceptual <= limit:
            break
    return found, replace(cloak, images=view, measures=measures), in_palette


def _survives(led: Sequence[Led], cloak: Measures, keep_shift: float) -> bool:
    """Whether a decoded file keeps the asked share of a cloak's shift, at both scales; of several
    encoders the one that is led least."""
    least = min(led, key=lambda one: float(one.shift[0]))
    pairs = (
        (float(least.shift[0]), cloak.shift_512),
        (float(least.shift_native[0]), cloak.shift_native),
    )
    return all(after >= keep_shift * before for after, before in pairs if before > 0)


def _bits(picture: CloakedPicture, format: str) -> int:
    if format not in DEEP:
        return 8
    return min(picture.artwork.bits, 12 if format == "avif" else 16)
