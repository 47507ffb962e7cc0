"""Whole runs through a real host, by its own API."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from comfy_glaze.artwork import load_artwork
from comfy_glaze.perceptual import load_metric

from .graphs import cloak_graph
from .server import Server


def test_a_run_saves_files_whose_report_tells_the_truth(server: Server) -> None:
    run = server.run(cloak_graph())
    assert run.end == "execution_success", run.events[-1]
    (row,) = run.shown("save")["glaze"]
    path = server.base / "output" / row["file"]["subfolder"] / row["file"]["filename"]
    reports = path.parent.with_name(f"{path.parent.name}-reports")
    report = json.loads((reports / f"{path.name}.glaze.json").read_text(encoding="utf-8"))
    assert report == row["measures"]
    assert report["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report["target_style"]["name"] == run.shown("target")["glaze_chosen"][0]
    original = load_artwork(server.base / "temp" / row["original"]["filename"]).pixels
    cloaked = load_artwork(path).pixels
    change = (cloaked - original).abs().max()
    assert 0 < round(float(change) * 255) <= 6
    assert report["linf"] == pytest.approx(float(change), abs=1e-6)
    metric = load_metric("st-lpips-alex")
    with torch.no_grad():
        value = float(metric.distance(metric.reference(original), cloaked))
    assert report["perceptual"]["value"] == pytest.approx(value, abs=1e-5)
    assert value <= report["perceptual"]["limit"] == 0.05
    assert report["shift"]["512"] > 0
    assert b"prompt" not in path.read_bytes()
