"""The script that measures a style transfer, on a Stable Diffusion with random weights."""

from __future__ import annotations

import sys

import pytest
from torch import Tensor

from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles import transfer as style_transfer
from training import measure_style_transfer as script

from ..conftest import smooth_picture


def test_table_is_made_for_a_checkpoint(
    tiny_pipeline: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "STYLES", (0,))
    monkeypatch.setattr(script, "STRENGTHS", {"img2img": (0.3, 0.7)})
    monkeypatch.setattr(script, "content_pictures", lambda: [smooth_picture(176, 176)])
    monkeypatch.setattr(style_transfer, "IMG2IMG_STEPS", 4)
    monkeypatch.setattr(
        sys, "argv", ["measure", "--style-transfer", tiny_pipeline, "--side", "176"]
    )
    script.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [float(row[0]) for row in rows] == [1.0, 0.7, 0.3]
    assert all(0 <= float(value) <= 1 for row in rows for value in row[1:])
    assert len({tuple(row[1:]) for row in rows}) == 3  # the strength reaches the pipeline
    assert float(rows[0][3]) == 0  # at full strength, from full strength


def test_gram_distance_sees_style_and_not_places() -> None:
    metric = load_metric("st-lpips-alex")
    picture = smooth_picture(96, 96)

    def distance(other: Tensor) -> float:
        return script.gram_distance(script.grams(picture, metric), script.grams(other, metric))

    assert distance(picture) == 0
    mirrored, darker, black = (distance(p) for p in (picture.flip(3), picture / 2, picture * 0))
    assert mirrored < darker / 4
    assert darker < black < 1
