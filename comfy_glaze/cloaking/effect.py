"""How many of a model's drawings a cloak is expected to lead out of the artist's style.

It is foretold from where a cloak covers the fine structure of what a model learns from: the latents
of the picture as a trainer has it, after an upload and its loader.  Of all that was computed for
one picture, the share of places with more change than structure ranked cloaks most nearly as
trained mimics did (``docs/real-art-world.md``, "What foretells a mimic's fall").  How large a
fall goes with it was fitted to the mimics of that world, and is read from ``calibration.json``,
which ``python -m training.real_art.calibrate`` writes.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..images import View, bands, floats, to_levels
from ..networks.encoders import Encoder
from .views import weighed_sum, weights_of

UPLOAD_QUALITY = 85
"""Of the JPEG with halved chroma that stands for an upload, as in the world of mimics."""

_LEAST = 0.01  # of the mean over channels: the least structure that is a channel's unit


def as_uploaded(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1], or held as levels, after a JPEG upload; as levels, uint8."""
    levels = torch.empty(pictures.shape, dtype=torch.uint8)
    for band in bands(*pictures.shape[-2:]):  # of whole JPEG blocks; a large picture fills memory
        for part, place in zip(band.cut(pictures), band.cut(levels), strict=True):
            with io.BytesIO() as file:
                Image.fromarray(to_levels(part[None])).save(
                    file, "JPEG", quality=UPLOAD_QUALITY, subsampling="4:2:0"
                )
                with Image.open(file) as read:
                    place.copy_(torch.from_numpy(np.array(read)).permute(2, 0, 1))
    return levels


def structure(features: Tensor) -> Tensor:
    """What of features (B, C, h, w) differs from the mean of the 3 × 3 positions around; features
    without positions, (B, C), are all structure."""
    if features.dim() == 2:
        return features[..., None, None]
    return features - _around(features)


def structure_changed(before: Tensor, after: Tensor) -> Tensor:
    """Where the structure of features (B, C, h, w) changed by more than there was: the share of all
    positions, (B,) from 0 to 1.

    Change and structure are squared, each channel in units of its own mean structure, since
    trainers bring every channel to one spread; then they are averaged over the channels and the
    3 × 3 positions around.
    """
    over = (2, 3)
    there, change = (structure(part).square() for part in (before, after - before))
    usual = there.mean(over, keepdim=True)
    least = _LEAST * usual.mean(dim=1, keepdim=True) + torch.finfo(usual.dtype).tiny
    units = usual.maximum(least)
    there, change = (_around((part / units).mean(dim=1, keepdim=True)) for part in (there, change))
    return (change > there).float().mean(dim=(1, 2, 3))


def _around(maps: Tensor) -> Tensor:
    """The mean of the 3 × 3 positions around each."""
    return F.avg_pool2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def changed_in(
    views: Sequence[View], original: Tensor, cloaked: Tensor, encoder: Encoder
) -> Tensor:
    """:func:`structure_changed` of what a trainer has of pictures after an upload, (B,): the mean
    over views, each weighing as much as its area.

    Args:
        views: of whole pictures or panels, scaled as a trainer's loader would, with the softer
            kernel, which is nearest to averaging areas.
        original, cloaked: (B, 3, H, W) in [0, 1], or held as levels.
    """
    before, after = (_features(views, pictures, encoder) for pictures in (original, cloaked))
    changed = {view: structure_changed(before[view], after[view]) for view in views}
    return weighed_sum(changed, views) / sum(weights_of(views))


def _features(views: Sequence[View], pictures: Tensor, encoder: Encoder) -> dict[View, Tensor]:
    """Of pictures after an upload, (B, C, h, w) a view."""
    levels = as_uploaded(pictures)
    return {view: encoder(floats(view.of(levels, soft=True)).to(encoder.device)) for view in views}


@dataclass(frozen=True)
class Effect:
    """An expected fall.

    Attributes:
        value: the share of a model's drawings that leave the artist's style, 0 to 1, if all works
            are cloaked alike.
        low, high: the same by the artist whose mimics fell least for such a change, and most.
        calibration: which world the figures are of, and its commit.
        assumes: what has to hold for the figures to be true.
    """

    value: float
    low: float
    high: float
    calibration: str
    assumes: str

    def as_json(self) -> dict[str, float | str]:
        """Under the report's keys."""
        return asdict(self)


@dataclass(frozen=True)
class Calibration:
    """How a change of structure became a fall, fitted to mimics.

    The log-odds of a drawing's being in the style are ``start`` without a cloak and fall by
    ``slope`` for a change of 1.

    Attributes:
        start, slope: over all artists.
        largest: the largest change that was tried; more than that is not extrapolated.
        artists: of each artist alone.
        commit: of the world.
    """

    start: float
    slope: float
    largest: float
    artists: dict[str, tuple[float, float]]
    commit: str


@cache
def calibration() -> Calibration:
    """What comes with the program."""
    text = (files(__package__) / "calibration.json").read_text(encoding="utf-8")
    return Calibration(**json.loads(text))


def expected_effect(change: float) -> Effect:
    """The fall for a change of structure, as :func:`structure_changed` gives it; for one that is
    larger than any that was tried, that of the largest."""
    known = calibration()
    change = min(change, known.largest)
    by_artist = [_fall(change, *own) for own in known.artists.values()]
    value = _fall(change, known.start, known.slope)
    return Effect(
        value=value,
        low=min(value, *by_artist),
        high=max(value, *by_artist),
        calibration=f"the world on real art, {len(by_artist)} artists, commit {known.commit}",
        assumes="all works are cloaked alike, uploaded as JPEG 85 and trained at half their size "
        "or 512 px, the mimic undoes nothing, and a model with this encoder learns as those did "
        "that were measured, with another encoder (taef2)",
    )


def _fall(change: float, start: float, slope: float) -> float:
    return _share(start) - _share(start - max(0.0, slope) * change)


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
