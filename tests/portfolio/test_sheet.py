"""The sheet of measures, looked at as pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from comfy_glaze.countermeasures import Case
from comfy_glaze.countermeasures.retention import Retention
from comfy_glaze.images import as_held, panels_of
from comfy_glaze.portfolio.sheet import draw_measured, write_sheet

from ..conftest import smooth_picture

ORIGINAL, CLOAKED = smooth_picture(64, 80), smooth_picture(64, 80, seed=1)
MEASURED: dict[str, Any] = {
    "perceptual": {"metric": "st-lpips-alex", "value": 0.04},
    "shift": {"512": 0.5},
    "linf": 8 / 255,
    "psnr": 34.0,
    "rehearsal": False,
    "quality": {
        "worst": [0, 0, 64, 80],
        **dict.fromkeys(("ssimulacra2", "flip", "ms_ssim", "flat_delta_e", "colour_cast")),
    },
}
LEFT = [
    Retention(Case("blur", 2), (0.0625,), 0.5),
    Retention(Case("noisy-upscale", 0.3), (0.625, 0.75), 0.5),
    Retention(Case("webp", 80), (-1.25,), 0.5),
]


def test_what_is_left_stands_below_in_aligned_columns() -> None:
    alone = np.asarray(draw_measured(ORIGINAL, CLOAKED, MEASURED, []))
    whole = np.asarray(draw_measured(ORIGINAL, CLOAKED, MEASURED, LEFT))
    height, width = alone.shape[:2]
    assert (whole[:height, :width] == alone).all()
    inked = (whole[height:] < 200).any(axis=2)
    assert not inked[:, :16].any()
    assert not inked[:, -16:].any()
    assert not inked[-16:].any()
    bands = np.flatnonzero(np.diff(inked.any(axis=1).astype(int))).reshape(-1, 2) + 1
    assert len(bands) == 2 + 1 + len(LEFT)  # the heading, its rule, and nothing before the others
    rows = [inked[top:bottom].any(axis=0) for top, bottom in bands[2:]]
    used = np.flatnonzero(np.any(rows, axis=0))
    words, shifts, shares = np.split(used, np.flatnonzero(np.diff(used) > 24) + 1)
    for row in rows:
        assert np.flatnonzero(row)[0] - words[0] <= 2
        for column in (shifts, shares):
            assert column[-1] - column[row[column]][-1] <= 1


REPORT: dict[str, Any] = MEASURED | {
    "perceptual": {"metric": "st-lpips-alex", "value": 0.04, "limit": 0.05},
    "shift": {"512": 0.5, "native": 0.4},
    "settings": {"method": "fast", "steps": 5, "linf": 8 / 255},
    "target_style": {"name": "Dusk"},
    "encoder": {"name": "blocks"},
    "gradients": 2.0,
    "seconds": {"optimize": 1.0},
    "device": "cpu",
    "verdict": {"level": "weak", "sentence": "It moves little.", "try": ""},
    "effect": {
        "value": 0.12,
        "low": 0.03,
        "high": 0.2,
        "calibration": "a small world",
        "assumes": "nobody undoes it",
    },
}


def test_a_strip_is_shown_as_its_panels_large_enough_to_judge(tmp_path: Path) -> None:
    """Scaled down as a whole it would be a line; here each panel keeps its place in four rows."""
    strip = torch.zeros(1, 3, 5400, 300)
    levels = torch.linspace(0.2, 0.7, 5)
    panels = panels_of(5400, 300)
    for panel, level in zip(panels, levels, strict=True):
        panel.cut(strip).fill_(level)
    held = as_held(strip, torch.empty(0, dtype=torch.uint8))
    write_sheet(held, held, held, REPORT, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    rows = set()
    for level in levels:
        grey = round(float(level) * 255)
        there = (sheet == grey).all(axis=2)
        runs = np.flatnonzero(np.diff(np.r_[0, there.sum(axis=1) >= 60, 0])).reshape(-1, 2)
        tall = [(top, bottom) for top, bottom in runs if bottom - top >= 200]
        assert len(tall) == 3, level  # original, redrawn and cloaked
        rows.add(tuple(top for top, _ in tall))
    assert len(rows) == 1


def test_what_is_transparent_stands_on_a_chequered_ground(tmp_path: Path) -> None:
    picture = torch.full((1, 3, 64, 80), 0.25)
    alpha = torch.ones(1, 1, 64, 80)
    alpha[..., 40:] = 0
    paths = tmp_path / "plain.png", tmp_path / "sticker.png"
    write_sheet(picture, picture, picture, REPORT, paths[0])
    write_sheet(picture, picture, picture, REPORT, paths[1], alpha=alpha)
    plain, sticker = (np.asarray(Image.open(path)).astype(int) for path in paths)
    changed = (plain != sticker).any(axis=2)
    assert changed[44:108, 16 + 40 : 16 + 80].all()
    assert not changed[44:108, 16 : 16 + 40].any()
    ground = sticker[44:108, 16 + 40 : 16 + 80]
    greys, counts = np.unique(ground, return_counts=True)
    assert len(greys) == 2
    assert greys[1] - greys[0] > 30
    assert counts[0] == counts[1]
