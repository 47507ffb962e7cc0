"""``comfy-glaze benchmark volunteer``: killed in the middle, what is sent back, and merging."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from comfy_glaze.cli import app
from comfy_glaze.evaluation.contribution import read_contribution, table_of
from comfy_glaze.evaluation.noising import noising_of
from comfy_glaze.evaluation.volunteer import GRID, usual_settings, works_by_artist
from comfy_glaze.files.artwork import Artwork, save_artwork

from ..conftest import needs_matplotlib, smooth_picture

ROOT = Path(__file__).parents[2]
ROWS = [row.name for row in GRID]
SECRET = "the neighbour"


@pytest.fixture
def art(tmp_path: Path) -> Path:
    """Two artists whose works differ at first sight."""
    for artist in range(2):
        folder = tmp_path / SECRET / f"painter {artist}"
        folder.mkdir(parents=True)
        for number in range(8):
            picture = smooth_picture(64, 64, seed=number + 100 * artist)
            picture[:, artist] = picture[:, artist] / 4
            save_artwork(picture, Artwork(picture), folder / f"a zebra {number}.png")
    return tmp_path / SECRET


def command(art: Path, checkpoint: str, out: Path, steps: int) -> list[str]:
    words = ["benchmark", "volunteer", str(art), "--checkpoint", checkpoint, "--out", str(out)]
    words += ["--artists", "1", "--style", "Sepia chalk", "--steps", str(steps)]
    words += ["--resolution", "32", "--images", "1", "--draw-steps", "2"]
    return [*words, "--device", "cpu", "--name", "Somebody"]


def check_contribution(out: Path) -> dict[str, Any]:
    """What is to be sent back is whole, and says nothing about who made it."""
    found = read_contribution(out / "contribution.json")
    assert [row["name"] for row in found["rows"]] == ROWS
    assert found["complete"]
    assert found["judge"]["accuracy"] > 0.5
    for row in found["rows"]:
        for key in ("mimicked", "style_distance"):
            assert row[key]["low"] <= row[key]["value"] <= row[key]["high"], key
    for name in ("contribution.json", "contribution.html"):
        text = re.sub("base64,[A-Za-z0-9+/=]+", "", (out / name).read_text("utf-8"))
        assert "Somebody" in text
        unwanted = {SECRET, "painter", "zebra", str(out), out.name, str(ROOT), "tiny", "/tmp"}
        unwanted |= {word for word in (getpass.getuser(), socket.gethostname()) if len(word) > 4}
        assert [word for word in unwanted if word in text] == []
    page = (out / "contribution.html").read_text("utf-8")
    assert page.count("data:image/webp") >= len(ROWS)
    assert "http" not in page
    return found


GENERATORS = ("tiny_pipeline", "tiny_sdxl", "tiny_flux")


@pytest.mark.slow
@needs_matplotlib
@pytest.mark.parametrize("generator", GENERATORS)
def test_a_killed_experiment_goes_on_to_its_end(
    generator: str, art: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("peft", reason="needs peft (extra lab)")
    out = tmp_path / "o-u-t"
    words = command(art, request.getfixturevalue(generator), out, steps=60)
    words = [sys.executable, "-m", "comfy_glaze", "--no-config", *words]
    running = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while len(list((out / "cells").glob("*.json"))) < 2 and running.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}
    assert 2 <= len(kept) < len(ROWS)
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "6 models on cpu: about" in running.stderr.read()  # type: ignore[union-attr]
    assert "a few steps" not in again.stderr  # the forecast is made once
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    found = check_contribution(out)
    assert found["settings"]["cloaking"]["objective"] == "beyond", "not the cloaks that ship"
    assert table_of([found, found]).count("Somebody") == 1
    assert table_of([found, found | {"id": "of another folder"}]).count("Somebody") == 2


@needs_matplotlib
def test_an_estimate_runs_a_few_steps_and_trains_no_model(
    tiny_flux: str, art: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="needs peft (extra lab)")
    out = tmp_path / "out"
    told = CliRunner().invoke(app, [*command(art, tiny_flux, out, steps=9), "--estimate"])
    assert told.exit_code == 0, told.output
    assert "6 models on cpu: about" in told.output
    assert not (out / "cells").exists()
    assert not (out / "trial").exists()


def test_flux_learns_a_straight_line() -> None:
    class Flow:
        transformer = None

    latents = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(3))
    asked = noising_of(Flow())(latents, torch.Generator().manual_seed(0))
    part = asked.times.view(-1, 1, 1, 1)
    torch.testing.assert_close(asked.noisy - part * asked.target, latents)
    noise = latents + asked.target
    assert F.mse_loss(noise.mean(), torch.tensor(0.0)) < 0.05
    assert ((asked.times > 0) & (asked.times < 1)).all()


def test_each_family_has_its_size() -> None:
    sides = {
        family: {part.resolution for part in usual_settings(family)}
        for family in ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline")
    }
    assert list(sides.values()) == [{512}, {1024}, {512}]
    assert usual_settings("FluxPipeline")[1].guidance < usual_settings("")[1].guidance


def test_artists_with_too_few_works_are_left_out(art: Path) -> None:
    for path in list((art / "painter 1").iterdir())[:3]:
        path.unlink()
    assert list(works_by_artist(art)) == ["painter 0"]
    with pytest.raises(ValueError, match="the most that one has are 5"):
        works_by_artist(art / "painter 1")


def contribution(**other: Any) -> dict[str, Any]:
    figure = {"value": 0.5, "low": 0.25, "high": 0.75}
    return {
        "kind": "comfy_glaze contribution",
        "schema": 1,
        "id": "a",
        "contributor": "",
        "complete": True,
        "checkpoint": {"class": "FluxPipeline", "hub": None},
        "device": "cpu",
        "works": [20, 24],
        "judge": {"name": "style probe", "accuracy": 0.9},
        "rows": [{"name": name, "models": 2, "mimicked": figure} for name in ROWS],
    } | other


def test_contributions_become_one_table_with_a_row_each(tmp_path: Path) -> None:
    hostile = contribution(id="b", contributor="| <script>\n`x`", complete=False)
    sent = tmp_path / "sent"
    sent.mkdir()
    for name, one in (("1", contribution()), ("2", hostile), ("3", contribution(device="cuda"))):
        (sent / f"{name}.json").write_text(json.dumps(one), encoding="utf-8")
    page = tmp_path / "page.md"
    begin, end = "<!-- contributions -->", "<!-- end of contributions -->"
    page.write_text(f"before\n\n{begin}\nold\n{end}\n\nafter\n", encoding="utf-8")

    def merge() -> subprocess.CompletedProcess[str]:
        words = ["training/merge_contributions.py", str(sent), "--page", str(page)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, env=environment
        )

    told = merge()
    assert told.returncode == 0, told.stderr
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 4  # a head, its line, and one for each id
    assert "cuda" in rows[2]  # of one id the later file
    assert "50% [25%, 75%]" in rows[2]
    assert "script x, part" in rows[3]
    (sent / "4.json").write_text("{}", encoding="utf-8")
    told = merge()
    assert told.returncode == 1
    assert "4.json is none" in told.stderr
    assert page.read_text("utf-8") == text
