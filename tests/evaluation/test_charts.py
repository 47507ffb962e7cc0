"""The lab's charts, looked at as pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from typer.testing import CliRunner

from comfy_glaze.cli import app
from comfy_glaze.evaluation.drawing import COLOURS, PAPER
from comfy_glaze.evaluation.figures import CELL, write_grid
from comfy_glaze.evaluation.retention_plot import write_bars
from comfy_glaze.images import to_levels

from ..conftest import ARTWORKS, needs_matplotlib, smooth_picture

ROWS = [
    ("noise 0.05", {"none": 0.25, "web": 0.5}),
    ("a countermeasure with a long name, of $a and $b", {"none": -0.125, "web": 1.25}),
]


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def has_colour(pixels: np.ndarray, colour: str) -> np.ndarray:
    return (pixels == ImageColor.getrgb(colour)).all(axis=2)


def has_a_blank_edge(pixels: np.ndarray) -> bool:
    blank = has_colour(pixels, PAPER)
    return bool(blank[[0, -1]].all() and blank[:, [0, -1]].all())


@needs_matplotlib
def test_bars_are_as_long_as_their_values(tmp_path: Path) -> None:
    write_bars("What is left", ROWS, tmp_path / "bars.png")
    pixels = pixels_of(tmp_path / "bars.png")
    assert has_a_blank_edge(pixels)
    none, web = (has_colour(pixels, colour).sum(axis=1) for colour in COLOURS[:2])
    assert set(none[none > 100]) == {none.max()}, "below 0 there is no bar"
    assert none.max() == pytest.approx(560 / 4, abs=2)
    assert sorted(set(web[web > 100])) == pytest.approx([560 / 2, 560], abs=2)


@needs_matplotlib
def test_a_chart_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        write_bars("What is left", ROWS, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


@needs_matplotlib
def test_a_grid_shows_the_pictures_pixel_by_pixel(tmp_path: Path) -> None:
    squares = []
    for seed in range(3):
        square = to_levels(smooth_picture(CELL, CELL, seed=seed))
        wide = np.pad(square, ((0, 0), (30, 30), (0, 0)))
        Image.fromarray(wide).save(tmp_path / f"{seed}.png")
        squares.append(square)
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    rows = [("works of $A$ and $B$, who has a long name", paths), ("cloaked", paths[::-1])]
    write_grid(rows, 2, tmp_path / "grid.png")
    pixels = pixels_of(tmp_path / "grid.png")
    assert has_a_blank_edge(pixels)
    left = pixels.shape[1] - 2 * (CELL + 8) - 8
    assert (pixels[:, :left].min(axis=2) < 100).any(), "the labels"
    for row, (first, second) in enumerate(((0, 1), (2, 1))):
        top = 8 + row * (CELL + 8)
        for column, number in enumerate((first, second)):
            start = left + column * (CELL + 8)
            shown = pixels[top : top + CELL, start : start + CELL]
            assert np.array_equal(shown, squares[number])


def test_without_matplotlib_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r'Charts need matplotlib.*\[lab\]"'):
        write_bars("What is left", ROWS, tmp_path / "bars.png")
    assert list(tmp_path.iterdir()) == []
    art = str(ARTWORKS / "ink.png")
    for words in (
        ["measure", art, art, "--plot", "left.png"],
        ["benchmark", "speed", art, "--out", "out"],
        ["benchmark", "countermeasures", art, "--out", "out"],
        ["benchmark", "mimicry", "--preset", "smoke", "--out", "out"],
    ):
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2, result.output
        assert "Charts need matplotlib" in result.stderr
