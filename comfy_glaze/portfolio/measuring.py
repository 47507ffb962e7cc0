"""The measures of pictures that are there already, under the report's keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..cloaking.comparison import Comparison
from ..cloaking.effect import changed_in, expected_effect
from ..cloaking.measures import pixel_change, worst_perceptual
from ..cloaking.views import views_by_panel
from ..devices import choose_device
from ..files.artwork import load_artwork
from ..files.formats import ArtworkError
from ..images import size_words
from ..networks.encoders import Encoder
from ..networks.ensemble import load_encoders
from ..networks.perceptual import PerceptualMetric, load_metric
from .report import measures_as_json


def measure_files(
    original: Path,
    cloaked: Path,
    styled: Path | None,
    *,
    encoders: Sequence[str] = ("embedded",),
    metric: str = "auto",
    objective: str = "towards",
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a cloaked file as its report does, from files alone.

    Without the styled file there is no direction to measure a shift in; then only the perceptual
    value, L∞, PSNR and the expected effect are returned.

    Raises:
        ArtworkError: a file cannot be read, or the sizes differ.
    """
    on_device = choose_device(device)
    phi, distance = load_encoders(encoders, on_device), load_metric(metric, on_device)
    before = load_artwork(original, held=True).pixels.to(on_device)
    others = []
    for path in (cloaked, *([styled] if styled else [])):
        pixels = load_artwork(path, held=True).pixels.to(on_device)
        if pixels.shape != before.shape:
            raise ArtworkError(
                f"{path} must have the size of {original}, {size_words(before)}, "
                f"but it has {size_words(pixels)}."
            )
        others.append(pixels)
    redrawn = others[1] if styled else None
    return measure_pictures(before, others[0], redrawn, phi, distance, objective)


def measure_pictures(
    original: Tensor,
    cloaked: Tensor,
    styled: Tensor | None,
    encoder: Encoder,
    metric: PerceptualMetric,
    objective: str = "towards",
) -> dict[str, Any]:
    """The measures of one cloaked picture under the report's keys, (1, 3, H, W) in [0, 1] each, or
    held as levels.

    Without a styled picture there is no direction to measure a shift in.  The shift is that of the
    ``objective`` that the cloak was led by.
    """
    if styled is None:
        linf, psnr = pixel_change(original, cloaked)
        return {
            "perceptual": {
                "metric": metric.name,
                "value": float(worst_perceptual(original, cloaked, metric)[0]),
            },
            "linf": linf[0],
            "psnr": psnr[0],
            "effect": expected_effect(_changed(original, cloaked, encoder)).as_json(),
        }
    measures = Comparison.of(original, styled, encoder, metric, objective).measure(cloaked)[0]
    return {
        "encoder": {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "family": encoder.family,
        },
        "effect": expected_effect(measures.least_changed).as_json(),
        **measures_as_json(measures, metric.name, limit=None),
    }


@torch.no_grad()
def _changed(original: Tensor, cloaked: Tensor, encoder: Encoder) -> float:
    """How much of the features' structure changed; of several encoders the least."""
    wholes, _ = views_by_panel(*original.shape[-2:])
    members = [member for member, _ in encoder.members] or [encoder]
    return min(float(changed_in(wholes, original, cloaked, member)[0]) for member in members)
