"""``comfy-glaze benchmark mimicry|baselines|rating-kit|ratings`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from comfy_glaze.cli import app
from comfy_glaze.evaluation.rating import key_file
from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork

from ..conftest import needs_matplotlib, smooth_picture


def benchmark(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["benchmark", *(str(word) for word in words)])


@pytest.fixture
def works(tmp_path: Path) -> Path:
    folder = tmp_path / "works"
    folder.mkdir()
    for i in range(5):
        picture = smooth_picture(64, 64, seed=i)
        save_artwork(picture, Artwork(picture), folder / f"a lake {i}.png")
    return folder


@needs_matplotlib
def test_smoke_runs_the_whole_chain(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = benchmark("mimicry", "--preset", "smoke", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "say nothing about any cloak" in " ".join(result.output.split())
    tables = json.loads((out / "results.json").read_text())
    assert [row["name"] for row in tables["rows"]] == ["no cloak", "Glaze, p = 0.05"]
    for row in tables["rows"]:
        for key in ("mimicked", "genre_shift", "style_distance", "kernel_distance", "noise"):
            assert row[key]["low"] <= row[key]["value"] <= row[key]["high"], key
    assert tables["rows"][1]["perceptual"]["value"] <= 0.05
    assert tables["about"]["accuracy of the style probe"] > 1 / 3
    assert (out / "ada.png").is_file()
    assert json.loads((out / "captions.json").read_text())["scene a.png"] == "scene a"

    kit = tmp_path / "kit"
    made = benchmark("rating-kit", out, "--out", kit, "--raters", "2", "--per-rater", "2")
    assert made.exit_code == 0, made.output
    key = json.loads(key_file(kit).read_text())
    rows = [f"{code},4" for code, shown in key.items() if shown["rater"] == 1]
    (tmp_path / "rater-01.csv").write_text("\n".join(["attempt,rating", *rows]) + "\n")
    counted = benchmark("ratings", key_file(kit), tmp_path / "rater-01.csv")
    assert counted.exit_code == 0, counted.output
    assert counted.output.count("100.0%") >= 2


@needs_matplotlib
def test_another_tools_cloaks_are_entered_on_the_leaderboard(
    tiny_pipeline: str, works: Path, tmp_path: Path
) -> None:
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    theirs.mkdir()
    for path in works.iterdir():
        pixels = (load_artwork(path).pixels + 2 / 255).clamp(0, 1)
        save_artwork(pixels, Artwork(pixels), theirs / path.name)
    command = ["mimicry", works, "--preset", "smoke", "--checkpoint", tiny_pipeline]
    command += ["--out", out, "--style", "Sepia chalk", "--device", "cpu"]
    result = benchmark(*command, "--entry", "Theirs", "--cloaked", theirs)
    assert result.exit_code == 0, result.output
    board = json.loads((out / "leaderboard.json").read_text())
    assert {entry["name"] for entry in board["entries"]} == {"no cloak", "Theirs"}
    assert board["entries"][0]["genre_shift"] is None
    assert "Theirs" in (out / "leaderboard.md").read_text()
    lone = benchmark(*command, "--entry", "Theirs")
    assert lone.exit_code == 2
    assert "belong together" in lone.output


def test_bad_usage_is_one_sentence(tiny_pipeline: str, works: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out", "--device", "cpu"]
    for words, sentence in (
        (["mimicry", works, *out], "Expected a generator"),
        (["mimicry", works, "--preset", "swift", *out], "preset among smoke, paper"),
        (["baselines", works, "--grid", "all", *out], "grid among smoke, core"),
        (["mimicry", *out, "--checkpoint", tiny_pipeline], "five works or more"),
        (["rating-kit", tmp_path], "attempts of a finished grid"),
    ):
        result = benchmark(*words)
        assert result.exit_code == 2, result.output
        assert sentence in " ".join(result.output.split())
        assert "Traceback" not in result.output
