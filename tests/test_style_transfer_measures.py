"""The script that measures a style transfer, on a Stable Diffusion with random weights."""

from __future__ import annotations

import sys

import pytest
import torch

from comfy_glaze import style_transfer
from comfy_glaze.perceptual import load_metric
from training import measure_style_transfer as script

from .conftest import smooth_picture


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
    kept, moved, from_full = ([float(row[n]) for row in rows] for n in (1, 2, 3))
    assert kept == sorted(kept)  # the less is redrawn, the more is kept
    assert kept[0] < kept[-1]
    assert all(0 < value < 1 for value in moved)
    assert from_full[0] == 0 < from_full[-1]


def test_gram_distance_is_blind_to_places() -> None:
    metric = load_metric("st-lpips-alex")
    picture, other = smooth_picture(96, 96), smooth_picture(96, 96, seed=1)
    own = script.grams(picture, metric)
    assert script.gram_distance(own, own) == 0
    turned = script.gram_distance(own, script.grams(picture.flip(3), metric))
    assert turned < script.gram_distance(own, script.grams(other, metric)) / 2
    dark = script.grams(torch.zeros(1, 3, 96, 96), metric)
    assert script.gram_distance(own, dark) > turned
