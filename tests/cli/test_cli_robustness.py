"""Countermeasures and robustness on the command line, on small crops of the bundled artwork."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from comfy_glaze.cli import app

from ..conftest import ARTWORKS, needs_matplotlib


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    path = tmp_path / "art.png"
    Image.open(ARTWORKS / "harbour.png").convert("RGB").crop((380, 260, 460, 340)).save(path)
    return path


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


@needs_matplotlib
def test_a_robust_cloak_and_what_it_keeps(source: Path, tmp_path: Path) -> None:
    code, _, errors = run("cloak", source, "--out", "out", "--robustness", "web", "--steps", 3)
    assert code == 0, errors
    report = json.loads((tmp_path / "out-reports" / "art.png.glaze.json").read_text("utf-8"))
    assert report["settings"]["robustness"] == "web"
    assert report["quality"]["window"] == [0, 0, 80, 80]
    styled = "out-reports/art.png.styled.png"
    code, text, table = run(
        "measure", source, "out/art.png", "--styled", styled,
        "--countermeasures", "jpeg-420:50,noise:0.1", "--seeds", 2, "--plot", "bars.png",
    )  # fmt: skip
    assert code == 0, table
    rows = json.loads(text)["countermeasures"]
    assert {row["countermeasure"] for row in rows} == {"jpeg-420", "noise"}
    assert rows[0]["shift"] <= rows[1]["shift"]
    noise = next(row for row in rows if row["countermeasure"] == "noise")
    assert noise["worst_seed"] < noise["shift"]
    assert "jpeg-420 50" in table
    assert np.asarray(Image.open(tmp_path / "bars.png")).std() > 10
    code, _, errors = run("measure", source, "out/art.png", "--countermeasures", "noise")
    assert code == 2
    assert "needs --styled" in errors


def test_uniform_spends_the_cap_everywhere(source: Path, tmp_path: Path) -> None:
    with Image.open(ARTWORKS / "poster.png") as poster:  # of even ground
        poster.convert("RGB").crop((380, 260, 460, 340)).save(source)
    changes = {}
    for name, words in (("spread", ()), ("uniform", ("--uniform",))):
        assert run("cloak", source, "--out", name, "--steps", 3, *words)[0] == 0
        before, after = (
            np.asarray(Image.open(path), dtype=float)
            for path in (source, tmp_path / name / "art.png")
        )
        changes[name] = np.abs(after - before)
        report = json.loads(
            (tmp_path / f"{name}-reports" / "art.png.glaze.json").read_text("utf-8")
        )
        assert report["settings"]["preset"] == ("custom" if words else "default")
    assert changes["spread"].mean() < changes["uniform"].mean()


@needs_matplotlib
def test_benchmarks_go_on_where_they_were(source: Path, tmp_path: Path) -> None:
    words = ("benchmark", "countermeasures", source, "--out", "bench", "--size", 48)
    chosen = ("--countermeasures", "jpeg-420:75", "--cloaks", "none,web")
    code, table, errors = run(*words, *chosen)
    assert code == 0, errors
    assert "jpeg-420 75" in table
    rows = (tmp_path / "bench" / "countermeasures.jsonl").read_text().splitlines()
    assert [json.loads(row)["cloak"] for row in rows] == ["none", "web"]
    assert run(*words, *chosen)[0] == 0
    assert (tmp_path / "bench" / "countermeasures.jsonl").read_text().splitlines() == rows
    assert (tmp_path / "bench" / "countermeasures.png").is_file()


def test_benchmark_robustness_has_a_row_for_each_preset(source: Path, tmp_path: Path) -> None:
    code, _, errors = run("benchmark", "robustness", source, "--out", "bench", "--size", 48)
    assert code == 0, errors
    lines = (tmp_path / "bench" / "robustness.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["preset"] for row in rows] == [
        "uniform 4/255",
        "gallery",
        "default",
        "strong",
        "default",
    ]
    assert rows[-1]["gradients"] == pytest.approx(2 * rows[0]["gradients"])
    assert all("kept jpeg-420 75" in row for row in rows)
