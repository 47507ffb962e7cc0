from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.files.atomic import write_json
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.portfolio.cloaked import CloakedPicture
from comfy_glaze.portfolio.picture_file import PictureFile
from comfy_glaze.portfolio.report import build_report
from comfy_glaze.portfolio.sheet import write_sheet
from comfy_glaze.styles.bank import Style
from comfy_glaze.styles.target import TargetStyle

from ..conftest import smooth_picture

TARGET = TargetStyle(Style("Dusk", "Fauvism", "Nobody", "dusk", 3), 1.5, 62.5, seed=7)

KEYS = {
    "schema": int,
    "version": str,
    "made": str,
    "rehearsal": bool,
    "source": {"file": str, "sha256": str, "quality": type(None)},
    "output": {"file": str, "sha256": str, "format": str, "bits": int, "quality": int},
    "bytes": {"before": type(None), "after": int, "reason": type(None)},
    "remarks": list,
    "target_style": {
        "name": str,
        "genre": str,
        "artist": str,
        "distance": float,
        "percentile": float,
    },
    "encoder": {"name": str, "fingerprint": str, "family": str},
    "settings": {
        "method": str,
        "steps": int,
        "seed": int,
        "style_seed": int,
        "preset": str,
        "limit": float,
        "linf": float,
        "metric": str,
        "alpha": float,
        "robustness": str,
        "objective": str,
        "tile": bool,
        "few_colours": str,
    },
    "perceptual": {"metric": str, "limit": float, "value": float},
    "linf": float,
    "psnr": float,
    "structure_changed": float,
    "shift": {"512": float, "native": float},
    "feature_distance": {"before": float, "after": float},
    "native_tiles": {"all": int, "measured": int},
    "effect": {
        "value": float,
        "low": float,
        "high": float,
        "calibration": str,
        "assumes": str,
    },
    "verdict": {"level": str, "sentence": str, "try": str},
    "how_to_break": str,
    "gradients": float,
    "seconds": {"optimize": float, "total": float},
    "device": str,
    "quality": {
        "ssimulacra2": float,
        "flip": float,
        "ms_ssim": type(None),  # needs 161 px
        "flat_share": float,
        "flat_delta_e": type(None),  # nothing in this picture is flat
        "colour_cast": float,
        "window": list,
        "worst": list,
    },
}


def check_types(found: object, expected: object, where: str = "report") -> None:
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys(), where
        for key in expected:
            check_types(found[key], expected[key], f"{where}.{key}")
    else:
        assert type(found) is expected, where


@pytest.mark.parametrize("metric", ["st-lpips-alex", "none"])
def test_report_has_the_documented_keys(
    metric: str, block_encoder: Encoder, tmp_path: Path
) -> None:
    original, styled = smooth_picture(64, 80), smooth_picture(64, 80, seed=5)
    cloak = optimize_cloak(
        original,
        styled,
        block_encoder,
        Budget(limit=0.05, linf=6 / 255, metric=metric),
        CloakSettings(steps=3),
    )
    (tmp_path / "art.png").write_bytes(b"source")
    artwork = Artwork(original, source=tmp_path / "art.png", sha256="a" * 64)
    save_artwork(cloak.images, artwork, tmp_path / "out.png")
    picture = CloakedPicture(artwork, original, styled, cloak, TARGET)
    saved = PictureFile(cloak, SaveOptions("png"), 8, cloak.measures[0])
    report = build_report(picture, saved, block_encoder, "out.png", "b" * 64, 1.5)
    write_json(report, tmp_path / "out.json")
    read = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    encoded = read.pop("encoded")
    if metric == "none":
        assert read["perceptual"] == {"metric": "none", "limit": None, "value": None}
        assert read["settings"]["limit"] is None
    else:
        check_types(read, KEYS)
    assert (encoded.pop("keep_shift"), encoded.pop("survived")) == (0.9, True)
    assert encoded == {key: read[key] for key in encoded}
    assert not read["rehearsal"]
    assert read["settings"]["steps"] == 3
    assert read["settings"]["style_seed"] == 7

    sheet = tmp_path / "sheet.png"
    write_sheet(original, styled, cloak.images, read | {"encoded": encoded}, sheet)
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape[1] > 4 * 80
    for shown in (original, styled, cloak.images):  # small pictures stand in the sheet unscaled
        picture = (shown[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        assert any(
            np.array_equal(pixels[44:108, left : left + 80], picture)
            for left in range(pixels.shape[1] - 80)
        )


def test_quality_compares_with_what_was_cloaked(block_encoder: Encoder) -> None:
    """In a graph without a wired artwork, the carrier holds the cloaked pixels."""
    original, styled = smooth_picture(64, 80), smooth_picture(64, 80, seed=5)
    budget = Budget(limit=0.05, linf=6 / 255, metric="none")
    cloak = optimize_cloak(original, styled, block_encoder, budget, CloakSettings(steps=3))
    saved = PictureFile(cloak, SaveOptions("png"), 8)

    def quality(carrier: Artwork) -> dict[str, Any]:
        picture = CloakedPicture(carrier, original, styled, cloak, TARGET)
        report = build_report(picture, saved, block_encoder, "out.png", "b" * 64, 1.0)
        found: dict[str, Any] = report["quality"]
        return found

    assert quality(Artwork(cloak.images)) == quality(Artwork(original))
    assert quality(Artwork(original))["flip"] > 0


def test_difference_on_the_sheet_is_amplified_by_the_printed_factor() -> None:
    from comfy_glaze.portfolio.sheet import _difference_factor

    before = torch.full((1, 3, 8, 8), 0.5)
    assert _difference_factor(before, before + 6 / 255) == 20
    assert _difference_factor(before, before - 0.2) == 2
    assert _difference_factor(before, before) == 50
