"""The measures of pictures that are there already, under the report's keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..cloaking.measures import Comparison, pixel_change, worst_perceptual
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
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a cloaked file as its report does, from files alone.

    Without the styled file there is no direction to measure a shift in; then only the perceptual
    value, L∞ and PSNR are returned.

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
    return measure_pictures(before, others[0], others[1] if styled else None, phi, distance)


def measure_pictures(
    original: Tensor,
    cloaked: Tensor,
    styled: Tensor | None,
    encoder: Encoder,
    metric: PerceptualMetric,
) -> dict[str, Any]:
    """The measures of one cloaked picture under the report's keys, (1, 3, H, W) in [0, 1] each, or
    held as levels.

    Without a styled picture there is no direction to measure a shift in.
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
        }
    measures = Comparison.of(original, styled, encoder, metric).measure(cloaked)[0]
    return {
        "encoder": {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "family": encoder.family,
        },
        **measures_as_json(measures, metric.name, limit=None),
    }
