"""What was done to a picture and what it measures: as JSON, and as one picture to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from .. import __version__
from ..cloaking.cloak import Cloak
from ..cloaking.measures import Measures
from ..cloaking.quality import measure_quality
from ..files.artwork import Artwork
from ..networks.encoders import Encoder
from ..styles.target import TargetStyle

SCHEMA = 1


def measures_as_json(measures: Measures, metric: str, limit: float | None) -> dict[str, Any]:
    """One set of measures under the report's keys."""
    return {
        "perceptual": {"metric": metric, "limit": limit, "value": measures.perceptual},
        "linf": measures.linf,
        "psnr": measures.psnr,
        "shift": {"512": measures.shift_512, "native": measures.shift_native},
        "feature_distance": {"before": measures.distance_before, "after": measures.distance_after},
        "native_tiles": {"all": measures.tiles, "measured": measures.tiles_measured},
    }


def build_report(
    artwork: Artwork,
    output: str,
    output_sha256: str,
    target: TargetStyle | None,
    encoder: Encoder,
    cloak: Cloak,
    *,
    style_seed: int | None,
    encoded: Measures | None,
    seconds: float,
    original: Tensor | None = None,
    poison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report of one saved picture, ready for JSON.

    Args:
        artwork: the source, as loaded.
        target: T; None where it is not known, as in a graph that does not say.
        output, output_sha256: the saved file's name, and the hash of its bytes.
        encoded: the measures of the decoded file, for a lossy format; None for a lossless one.
        seconds: wall time from reading the source to the saved file.
        original: what was cloaked, (1, 3, H, W) in [0, 1], if it is not the artwork's own pixels.
        poison: what a poisoned picture of a concept is led to (see
            :meth:`comfy_glaze.poison.anchors.Poison.as_json`); None for a cloak.
    """
    budget, settings = cloak.budget, cloak.settings
    limit = None if budget.metric == "none" else budget.limit
    report = {
        "schema": SCHEMA,
        "version": __version__,
        "rehearsal": encoder.is_rehearsal,
        "source": {
            "file": artwork.source.name if artwork.source else None,
            "sha256": artwork.sha256,
        },
        "output": {"file": output, "sha256": output_sha256},
        **({} if poison is None else {"poison": dict(poison)}),
        **({} if cloak.system is None else {"system": cloak.system}),
        "target_style": {
            "name": target.style.name if target else None,
            "genre": target.style.genre if target else None,
            "artist": target.style.artist if target else None,
            "distance": target.distance if target else None,
            "percentile": target.percentile if target else None,
        },
        "encoder": {"name": encoder.name, "fingerprint": encoder.fingerprint},
        "settings": asdict(settings)
        | {
            "style_seed": style_seed,
            "limit": limit,
            "linf": budget.linf,
            "metric": budget.metric,
            "alpha": budget.alpha,
        },
        **measures_as_json(cloak.measures[0], budget.metric, limit),
        "gradients": cloak.gradients,
        "seconds": {"optimize": cloak.seconds, "total": seconds},
        "device": str(encoder.device),
        "quality": asdict(
            measure_quality(artwork.pixels if original is None else original, cloak.images)
        ),
    }
    if encoded is not None:
        report["encoded"] = measures_as_json(encoded, budget.metric, limit)
    return report


# --- the sheet -----------------------------------------------------------------------------------
