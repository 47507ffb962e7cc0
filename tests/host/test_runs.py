"""Whole runs through a real host, by its own API."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.networks.perceptual import load_metric

from ..conftest import ARTWORKS
from .graphs import cloak_graph, look, node, rehearsal_graph
from .server import Event, Run, Server

STEP = "comfy_glaze.step"
LIMIT = PRESETS["default"].limit


@pytest.fixture(scope="module")
def fresh(server: Server) -> tuple[str, str]:
    """What the host's own nodes give before any cloak; this file's first test needs it first."""
    return look(server, 0)


@pytest.fixture(scope="module")
def first_run(server: Server, fresh: tuple[str, str]) -> Run:
    return server.run(cloak_graph())


def saved_file(server: Server, row: dict[str, Any]) -> Path:
    return server.base / "output" / row["file"]["subfolder"] / row["file"]["filename"]


def test_a_run_saves_files_whose_report_tells_the_truth(server: Server, first_run: Run) -> None:
    assert first_run.end == "execution_success", first_run.events[-1]
    (row,) = first_run.shown("save")["glaze"]
    path = saved_file(server, row)
    reports = path.parent.with_name(f"{path.parent.name}-reports")
    report = json.loads((reports / f"{path.name}.glaze.json").read_text(encoding="utf-8"))
    assert report == row["measures"]
    assert report["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report["target_style"]["name"] == first_run.shown("target")["glaze_chosen"][0]
    original = load_artwork(server.base / "temp" / row["original"]["filename"]).pixels
    cloaked = load_artwork(path).pixels
    change = (cloaked - original).abs().max()
    assert 0 < float(change) <= report["settings"]["linf"] + 1e-6
    assert report["linf"] == pytest.approx(float(change), abs=1e-6)
    metric = load_metric("st-lpips-alex")
    with torch.no_grad():
        value = float(metric.distance(metric.reference(original), cloaked))
    assert report["perceptual"]["value"] == pytest.approx(value, abs=1e-5)
    assert value <= report["perceptual"]["limit"] == LIMIT
    assert report["shift"]["512"] > 0
    assert not report["rehearsal"]
    assert b"prompt" not in path.read_bytes()


def test_the_page_sees_each_step(first_run: Run) -> None:
    steps = first_run.of_type(STEP)
    assert [step["step"] for step in steps][-1] == 3
    assert {(step["node"], step["steps"], step["pictures"]) for step in steps} == {("cloak", 3, 1)}
    assert all(step["perceptual"] is not None and step["limit"] == LIMIT for step in steps)
    assert steps[-1]["shift"] > 0
    assert first_run.of_type("preview"), "no live picture came"


def test_the_hosts_own_nodes_work_as_before_a_run(
    server: Server, fresh: tuple[str, str], first_run: Run
) -> None:
    assert look(server, 1) == fresh


def test_another_style_runs_only_what_depends_on_it(server: Server) -> None:
    graph = cloak_graph()
    shown = server.run(graph).shown("target")
    chosen, names = shown["glaze_chosen"][0], [row["name"] for row in shown["glaze_ranking"]]
    graph["target"]["inputs"]["style"] = next(name for name in names if name != chosen)
    run = server.run(graph)
    assert run.end == "execution_success"
    assert run.executed == {"target", "styled", "cloak", "save"}
    (row,) = run.shown("save")["glaze"]
    assert row["measures"]["target_style"]["name"] == graph["target"]["inputs"]["style"]


def test_saving_again_does_not_cloak_again(server: Server) -> None:
    graph = cloak_graph()
    server.run(graph)
    graph["save"]["inputs"] |= {"format": "jpeg", "quality": 80, "metadata": True}
    run = server.run(graph)
    assert run.executed == {"save"}
    (row,) = run.shown("save")["glaze"]
    assert row["measures"]["encoded"]["linf"] != row["measures"]["linf"]
    assert saved_file(server, row).suffix == ".jpg"
    assert b"GlazeSaveCloaked" in saved_file(server, row).read_bytes()  # asked for, so it is there


def test_a_cancelled_run_stops_at_once_and_leaves_nothing(
    server: Server, fresh: tuple[str, str]
) -> None:
    server.clear_caches()
    before = server.get("/probe")
    graph = cloak_graph(steps=400)
    stopped: list[int] = []

    def stop_soon(event: Event) -> None:
        if event["type"] == STEP and event["data"]["step"] >= 2 and not stopped:
            stopped.append(event["data"]["step"])
            server.post("/interrupt", {})

    run = server.run(graph, stop_soon)
    assert run.end == "execution_interrupted"
    assert stopped
    assert server.get("/probe")["steps_after_stop"] <= 1
    loaded = server.get("/probe")["loaded"]
    assert "_Stages" not in loaded  # the metric's network
    assert look(server, 2) == fresh
    server.clear_caches()
    after = server.get("/probe")
    assert after["loaded"] == before["loaded"] == []
    assert after["threads"] == before["threads"]
    assert after["tensor_bytes"] == pytest.approx(before["tensor_bytes"], abs=64 * 1024)


def test_a_run_that_fails_says_why_and_breaks_nothing(
    server: Server, fresh: tuple[str, str]
) -> None:
    graph = cloak_graph()
    graph["white"] = node("SolidMask", value=1.0, width=128, height=128)
    graph["cloak"]["inputs"]["keep_clear"] = ["white", 0]
    run = server.run(graph)
    assert run.end == "execution_error"
    assert "keep_clear covers it all" in run.events[-1]["data"]["exception_message"]
    assert "_Stages" not in server.get("/probe")["loaded"]
    assert look(server, 3) == fresh


def test_a_folder_of_mixed_sizes_goes_through_as_a_list(server: Server) -> None:
    folder = server.base / "output" / "made"
    folder.mkdir(exist_ok=True)
    for name, (height, width) in {"a": (48, 64), "b": (72, 40)}.items():
        crop_to_file(folder / f"{name}.png", height, width)
    run = server.run(rehearsal_graph("made/ (output)"))
    assert run.end == "execution_success", run.events[-1]
    assert {(step["picture"], step["pictures"]) for step in run.of_type(STEP)} == {(1, 2), (2, 2)}
    rows = run.shown("save")["glaze"]
    assert [Path(row["file"]["filename"]).stem for row in rows] == ["a_00001_", "b_00001_"]
    assert [load_artwork(saved_file(server, row)).pixels.shape[-2:] for row in rows] == [
        (48, 64),
        (72, 40),
    ]
    styles = {row["measures"]["target_style"]["name"] for row in rows}
    assert len(styles) == 1, "one artist, one target"
    assert all(row["measures"]["rehearsal"] for row in rows)
    assert [row["measures"]["source"]["file"] for row in rows] == ["a.png", "b.png"]


def test_a_source_may_come_through_a_wire(server: Server) -> None:
    folder = server.base / "input" / "wired"
    folder.mkdir()
    crop_to_file(folder / "a.png", 48, 64)
    graph = rehearsal_graph("")
    graph["text"] = node("ProbeText", text="wired/")
    graph["artwork"]["inputs"]["source"] = ["text", 0]
    run = server.run(graph)
    assert run.end == "execution_success", run.events[-1]
    (row,) = run.shown("save")["glaze"]
    assert row["measures"]["source"]["file"] == "a.png"


def test_a_crop_after_the_cloak_is_saved_without_a_number(server: Server) -> None:
    graph = cloak_graph()
    graph["crop"] = node("ImageCrop", image=["cloak", 0], width=64, height=128, x=0, y=0)
    graph["save"]["inputs"] |= {"images": ["crop", 0], "filename_prefix": "cropped/%name%"}
    run = server.run(graph)
    assert run.end == "execution_success", run.events[-1]
    (row,) = run.shown("save")["glaze"]
    assert row["measures"] is None
    assert row["note"].startswith("A node in between cropped or turned the picture")
    assert load_artwork(saved_file(server, row)).pixels.shape[-2:] == (128, 64)


def test_an_artwork_that_was_resized_keeps_its_name(server: Server) -> None:
    graph = cloak_graph()
    graph["save"]["inputs"] |= {"artwork": ["artwork", 2], "filename_prefix": "named/%name%"}
    (row,) = server.run(graph).shown("save")["glaze"]
    assert row["file"]["filename"] == "harbour_00001_.png"
    assert row["note"] is None


def test_different_vaes_are_refused_before_the_work(server: Server) -> None:
    graph = cloak_graph()
    graph["other"] = node("GlazeLoadEncoder", name="embedded (rehearsal only)")
    graph["bank"]["inputs"]["bank"] = "built in"
    graph["target"]["inputs"]["encoder"] = ["other", 0]
    run = server.run(graph)
    assert run.end == "execution_error"
    assert run.events[-1]["data"]["node_id"] == "target"
    assert "are wired to different VAEs" in run.events[-1]["data"]["exception_message"]
    assert "styled" not in run.executed


def test_without_a_cloak_nothing_is_saved(server: Server) -> None:
    graph = {
        "artwork": node("GlazeLoadArtwork", source="harbour.png", first=1, last=0),
        "save": cloak_graph()["save"],
    }
    graph["save"]["inputs"] |= {"images": ["artwork", 0], "filename_prefix": "nothing/%name%"}
    del graph["save"]["inputs"]["cloak"]
    (row,) = server.run(graph).shown("save")["glaze"]
    assert (row["file"], row["measures"]) == (None, None)
    assert not (server.base / "output" / "nothing").exists()


def test_a_file_in_the_place_of_a_folder_is_refused_before_the_run(server: Server) -> None:
    (server.base / "output" / "taken").write_bytes(b"")
    graph = cloak_graph(steps=4)
    graph["save"]["inputs"]["filename_prefix"] = "taken/%name%"
    assert not server.run(graph).executed & {"cloak", "save"}, "the rest of the graph may run"


def test_a_format_that_cannot_hold_the_picture_is_refused_before_the_cloak(
    server: Server,
) -> None:
    """The picture is loaded already, so that Load Artwork does not run again."""
    holed = Image.open(ARTWORKS / "harbour.png").convert("RGBA").crop((380, 260, 444, 308))
    holed.paste((0, 0, 0, 0), (0, 0, 20, 20))
    holed.save(server.base / "input" / "holed.png")
    graph = rehearsal_graph("holed.png")
    run = server.run(graph)
    assert run.end == "execution_success", run.events[-1]
    graph["cloak"]["inputs"]["steps"] += 1
    graph["save"]["inputs"]["format"] = "jpeg"
    run = server.run(graph)
    assert run.end == "execution_error"
    assert run.events[-1]["data"]["exception_message"].startswith("holed.png: expected png or webp")
    assert run.executed == {"save"}


def test_a_folder_goes_on_after_a_broken_file(server: Server) -> None:
    folder = server.base / "input" / "broken"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        crop_to_file(folder / name, 48, 64)
    (folder / "c.png").write_bytes(b"no picture")
    run = server.run(rehearsal_graph("broken/"))
    assert run.end == "execution_success", run.events[-1]
    rows = run.shown("save")["glaze"]
    assert [row["measures"]["source"]["file"] for row in rows] == ["a.png", "b.png"]
    assert all(row["note"].startswith("1 left out: c.png: expected") for row in rows)


def crop_to_file(path: Path, height: int, width: int) -> None:
    box = (380, 260, 380 + width, 260 + height)
    Image.open(ARTWORKS / "harbour.png").convert("RGB").crop(box).save(path)


def test_the_page_can_list_the_styles(server: Server) -> None:
    styles = server.get("/comfy_glaze/styles?bank=built%20in")
    assert len(styles) >= 20
    assert {"name", "genre", "artist", "thumbnail"} == set(styles[0])
