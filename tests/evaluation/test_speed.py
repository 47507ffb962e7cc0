from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from comfy_glaze.cli import app
from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings
from comfy_glaze.evaluation.speed import TimedCloak, compare_methods, ratios, raw_speed
from comfy_glaze.evaluation.speed_plot import write_plot
from comfy_glaze.networks.encoders import Encoder

from ..conftest import ARTWORKS, needs_matplotlib, smooth_picture

Pairs = Sequence[tuple[TimedCloak, TimedCloak]]


@pytest.fixture
def pairs(block_encoder: Encoder) -> Pairs:
    pictures = {"soft": (smooth_picture(32, 48), smooth_picture(32, 48, seed=5))}
    budget = Budget(limit=0.05, linf=8 / 255, metric="none")
    return list(compare_methods(pictures, block_encoder, None, budget, CloakSettings(steps=5), 10))


def test_both_methods_are_counted_alike(pairs: Pairs) -> None:
    ((fast, paper),) = pairs
    assert (fast.method, paper.method) == ("fast", "paper")
    assert (fast.passes, paper.passes) == (5, 10)
    assert paper.gradients == pytest.approx(10 * 32 * 48 / 512**2)
    assert len(paper.curve) == 10
    assert paper.curve[0] == (0, pytest.approx(0, abs=0.01))
    assert paper.curve[-1][0] == pytest.approx(0.9 * paper.gradients)
    found = ratios(fast, paper)
    assert found["passes"] == 2
    assert found["shift"] == fast.measures.shift_512 / paper.measures.shift_512
    json.dumps([fast.as_json(), paper.as_json()], allow_nan=False)


@needs_matplotlib
def test_plot_shows_the_curves_and_their_labels(pairs: Pairs, tmp_path: Path) -> None:
    write_plot(pairs, tmp_path / "speed.png")
    pixels = np.asarray(Image.open(tmp_path / "speed.png").convert("RGB"))
    _, columns = np.nonzero((pixels == (31, 119, 180)).all(axis=2))
    assert columns.min() < 100  # from the start of the curve
    assert columns.max() > 680  # to its label


def test_raw_speed_counts_the_known_operations() -> None:
    """A 512 px pass of this encoder takes 2.27 TFLOP (FIELD: forward and input gradient)."""
    found = raw_speed(torch.device("cpu"), size=32, repeats=1)
    assert found["tflop_per_gradient"] * (512 / 32) ** 2 == pytest.approx(2.2, rel=0.1)
    assert 0 < found["share_of_ceiling"] < 2
    assert found["dtype"] == "float32"


@needs_matplotlib
def test_command_writes_figures_and_plot(tmp_path: Path) -> None:
    Image.open(ARTWORKS / "poster.png").convert("RGB").crop((100, 300, 180, 364)).save(
        tmp_path / "cut.png"
    )
    words = ["benchmark", "speed", tmp_path / "cut.png", "--out", tmp_path / "out", "--steps", 2]
    words += ["--paper-steps", 3, "--raw-size", 0, "--metric", "st-lpips-alex", "--size", 48]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads((tmp_path / "out/speed.json").read_text("utf-8"))
    assert [cloak["method"] for cloak in found["cloaks"]] == ["fast", "paper"]
    assert [cloak["passes"] for cloak in found["cloaks"]] == [2, 3]
    assert found["cloaks"][0]["size"] == [48, 60]
    assert found["budget"] == {"metric": "st-lpips-alex", "limit": 0.05, "linf": 6 / 255}
    assert found["ratios"]["cut.png"]["passes"] == 1.5
    assert found["raw"] is None
    assert (tmp_path / "out/speed.png").stat().st_size > 5000
