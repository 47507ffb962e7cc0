"""What was done to a picture and what it measures, as JSON."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any

from .. import HOW_TO_BREAK, __version__
from ..cloaking.measures import Measures, MemberShift
from ..cloaking.quality import measure_quality
from ..networks.encoders import Encoder
from .cloaked import CloakedPicture
from .picture_file import PictureFile
from .remarks import bytes_as_json, remarks

SCHEMA = 1


def measures_as_json(measures: Measures, metric: str, limit: float | None) -> dict[str, Any]:
    """One set of measures under the report's keys; of several encoders each one's, worst first."""
    encoders = [
        {
            "name": member.name,
            "fingerprint": member.fingerprint,
            "family": member.family,
            **_led(member),
        }
        for member in measures.encoders
    ]
    return {
        "perceptual": {"metric": metric, "limit": limit, "value": measures.perceptual},
        "linf": measures.linf,
        "psnr": measures.psnr,
        **_led(measures),
        "native_tiles": {"all": measures.tiles, "measured": measures.tiles_measured},
        **({"encoders": encoders} if encoders else {}),
    }


def _led(seen: Measures | MemberShift) -> dict[str, Any]:
    """How far an encoder was led."""
    return {
        "structure_changed": seen.changed,
        "shift": {"512": seen.shift_512, "native": seen.shift_native},
        "feature_distance": {"before": seen.distance_before, "after": seen.distance_after},
    }


def build_report(
    picture: CloakedPicture,
    saved: PictureFile,
    encoder: Encoder,
    name: str,
    sha256: str,
    seconds: float,
) -> dict[str, Any]:
    """The report of one saved picture, ready for JSON.

    Args:
        picture, saved: what was cloaked, and what its file holds.
        encoder: Φ.
        name, sha256: of the file.
        seconds: wall time for the picture.
    """
    cloak, target, poison = saved.cloak, picture.target, picture.poison
    budget, source = cloak.budget, picture.artwork.source
    limit = None if budget.metric == "none" else budget.limit
    shown = replace(picture, cloak=cloak)
    verdict = shown.verdict(encoder.is_rehearsal, saved.encoded)
    effect = shown.effect(saved.encoded)
    report = {
        "schema": SCHEMA,
        "version": __version__,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rehearsal": encoder.is_rehearsal,
        "source": {
            "file": source.name if source else None,
            "sha256": picture.artwork.sha256,
            "quality": picture.artwork.coding.quality,
        },
        "output": {
            "file": name,
            "sha256": sha256,
            "format": saved.options.format,
            "bits": saved.bits,
        },
        "bytes": bytes_as_json(picture, saved),
        "remarks": remarks(picture, saved),
        **({} if poison is None else {"poison": dict(poison)}),
        **({} if cloak.system is None else {"system": cloak.system}),
        "target_style": {
            "name": target.style.name if target else None,
            "genre": target.style.genre if target else None,
            "artist": target.style.artist if target else None,
            "distance": target.distance if target else None,
            "percentile": target.percentile if target else None,
        },
        "encoder": {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "family": encoder.family,
        },
        "settings": asdict(cloak.settings)
        | {
            "preset": budget.preset,
            "style_seed": target.seed if target else None,
            "limit": limit,
            "linf": budget.linf,
            "metric": budget.metric,
            "alpha": budget.alpha,
        },
        **measures_as_json(cloak.measures[0], budget.metric, limit),
        "effect": effect.as_json() if effect else None,
        "verdict": verdict.as_json() if verdict else None,
        "how_to_break": HOW_TO_BREAK,
        "gradients": cloak.gradients,
        "seconds": {"optimize": cloak.seconds, "total": seconds},
        "device": str(encoder.device),
        "quality": asdict(measure_quality(picture.original, cloak.images)),
    }
    if saved.encoded is not None:
        report["output"]["quality"] = saved.options.real_quality
        report["encoded"] = measures_as_json(saved.encoded, budget.metric, limit) | {
            "keep_shift": saved.options.keep_shift,
            "survived": saved.survived,
        }
    return report
