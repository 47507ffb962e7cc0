"""The sheet of measures, looked at as pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from comfy_glaze.countermeasures import Case
from comfy_glaze.countermeasures.retention import Retention
from comfy_glaze.portfolio.sheet import draw_measured

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
