"""A folder through the nodes, one picture in each run: stopped anywhere, it goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from .conftest import Pack
from .stand_ins import ExecutionBlocker, host_vae

Graph = dict[str, dict[str, Any]]


def folder_graph(**save: Any) -> Graph:
    """Load → choose → redraw → cloak → save, as the page would send it."""
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "load": ("LoadArtwork", {"source": "works/", "first": 1, "last": 0}),
        "target": ("SelectTargetStyle", {"images": ["load", 3], "artist": ""}),
        "styled": ("StyleTransfer", {"image": ["load", 0], "target_style": ["target", 0]}),
        "cloak": (
            "CloakOptimize",
            {"image": ["load", 0], "styled": ["styled", 0], "keep_clear": ["load", 1], "steps": 1},
        ),
        "save": (
            "SaveCloaked",
            {"images": ["cloak", 0], "cloak": ["cloak", 1], "artwork": ["load", 2]}
            | {"filename_prefix": "cloaked/%name%", "format": "same", "quality": 95}
            | {"metadata": False, "resume": True}
            | save,
        ),
    }
    return {
        name: {"class_type": f"Glaze{kind}", "inputs": inputs}
        for name, (kind, inputs) in kinds.items()
    }


class Host:
    """Runs the graph as the host does, and again for as long as it is queued."""

    def __init__(self, pack: Pack, graph: Graph) -> None:
        self.pack, self.graph = pack, graph
        self.vae, (self.budget,) = host_vae(), pack.run("GlazeLPIPSBudget", metric="none").args
        self.cloaked: list[str] = []
        self.saved: list[dict[str, Any]] = []

    def hidden(self, node: str) -> Any:
        return SimpleNamespace(unique_id=node, prompt=self.graph, extra_pnginfo={})

    def once(self) -> list[Any]:
        """One run; gives what Load Artwork gave."""
        load, save = self.graph["load"]["inputs"], self.graph["save"]["inputs"]
        given = self.pack.run("GlazeLoadArtwork", self.hidden("load"), **load).args
        for image, mask, artwork in zip(*given[:3], strict=True):
            if isinstance(image, ExecutionBlocker):
                continue
            self.cloaked.append(artwork.source.name)
            cloaked, batch = self.pack.run(
                "GlazeCloakOptimize",
                image=image,
                styled=1 - image,
                keep_clear=mask,
                encoder=self.vae,
                budget=self.budget,
                steps=self.graph["cloak"]["inputs"]["steps"],
            ).args
            wires = {"images": cloaked, "cloak": batch, "artwork": artwork}
            run = self.pack.run("GlazeSaveCloaked", self.hidden("save"), **(save | wires))
            self.saved += run.ui["images"]
        return list(given)

    def to_the_end(self) -> list[str]:
        """The names of the pictures that were cloaked."""
        self.cloaked, queue = [], self.pack.server.prompt_queue
        queue.waiting = [(0, "first", self.graph, {"client_id": "page"}, ["save"])]
        while queue.waiting:
            queue.running = [queue.waiting.pop()]
            self.once()
        queue.running = []
        return self.cloaked


@pytest.fixture
def works(pack: Pack) -> Path:
    top = pack.base / "input" / "works"
    for number, name in enumerate(("a.png", "b.jpg", "sub/a.png", "sub/c.webp")):
        put(top / name, number)
    return top


def put(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    picture = Image.effect_noise((48, 40), 30).convert("RGB")
    picture.paste((40 * seed % 256, 90, 120), (4, 4, 30, 30))
    picture.save(path)


def tree(pack: Pack, out: str = "cloaked") -> dict[str, str]:
    top = pack.base / "output" / out
    return {
        path.relative_to(top).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def test_one_picture_in_each_run_until_all_are_saved(pack: Pack, works: Path) -> None:
    host = Host(pack, folder_graph())
    images, _, _, seen = host.once()
    assert len(images) == 1
    assert len(seen) == 4
    assert len(pack.server.prompt_queue.waiting) == 0, "outside of a queue there is none to join"
    assert host.to_the_end() == ["b.jpg", "a.png", "c.webp"]
    names = ["a.png", "b.jpg", "sub/a.png", "sub/c.webp"]
    assert list(tree(pack)) == names
    reports = pack.base / "output" / "cloaked-reports"
    lines = [json.loads(line) for line in (reports / "manifest.jsonl").read_text().splitlines()]
    entries = [line for line in lines if "run" not in line]
    assert [entry["output"]["file"] for entry in entries] == names
    assert [entry["output"]["sha256"] for entry in entries] == list(tree(pack).values())
    page = (reports / "index.html").read_text()
    assert "4 pictures" in page
    assert {row["subfolder"] for row in host.saved} == {"cloaked", "cloaked/sub"}
    before = tree(pack)
    assert host.to_the_end() == []
    assert tree(pack) == before


def test_the_run_is_queued_again_as_it_was(pack: Pack, works: Path) -> None:
    host, queue = Host(pack, folder_graph()), pack.server.prompt_queue
    queue.running = [(3, "first", host.graph, {"client_id": "page"}, ["save"], {"key": "kept"})]
    host.once()
    ((number, name, *rest),) = queue.waiting
    assert rest == [host.graph, {"client_id": "page"}, ["save"], {"key": "kept"}]
    assert (number, pack.server.number) == (7, 8)
    assert name != "first"


def test_stop_ends_the_folder(pack: Pack, works: Path) -> None:
    host, queue = Host(pack, folder_graph()), pack.server.prompt_queue
    queue.running = [(3, "first", host.graph, {}, ["save"])]
    pack.memory.stop_after = 2  # the encoder's copy, the cloak's step, the look before it is queued
    with pytest.raises(pack.memory.InterruptProcessingException):
        host.once()
    assert queue.waiting == []
    assert list(tree(pack)) == ["a.png"], "what was done is saved"


@pytest.mark.parametrize("writes", range(1, 16, 3))
def test_a_killed_run_goes_on_and_loses_the_picture_in_hand(
    pack: Pack, works: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    class Killed(BaseException):
        pass

    Host(pack, folder_graph(filename_prefix="whole/%name%")).to_the_end()
    host, for_real, left = Host(pack, folder_graph()), os.replace, [writes]

    def cut_off(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        for_real(source, target)

    with monkeypatch.context() as cut:
        cut.setattr(os, "replace", cut_off)
        with pytest.raises(Killed):
            host.to_the_end()
    begun = host.cloaked
    whole = tree(pack, "whole")
    assert tree(pack).items() <= whole.items()
    saved = len(tree(pack))
    again = host.to_the_end()
    lost = len(begun) + len(again) - 4
    assert lost == 1 or (lost == 0 and saved == len(begun)), "at most the picture in hand is lost"
    assert lost == 0 or begun[-1] in again, "the picture in hand is done again"
    assert tree(pack) == whole


def test_only_what_is_new_or_changed_is_done(pack: Pack, works: Path) -> None:
    graph = folder_graph()
    host = Host(pack, graph)
    host.to_the_end()
    put(works / "new.png", 9)
    put(works / "sub/a.png", 5)
    (pack.base / "output/cloaked/b.jpg").unlink()
    assert sorted(host.to_the_end()) == ["a.png", "b.jpg", "new.png"]
    graph["cloak"]["inputs"]["steps"] = 2
    assert len(host.to_the_end()) == 5
    graph["load"]["inputs"] |= {"first": 2, "last": 3}
    assert host.to_the_end() == []
    graph["save"]["inputs"]["format"] = "png"
    assert len(host.to_the_end()) == 2


def test_a_mask_file_is_part_of_the_settings(pack: Pack, works: Path) -> None:
    settings_of = pack.module("nodes.portfolio").settings_of
    graph, mask = folder_graph(), pack.base / "input" / "mask.png"
    graph["cloak"]["inputs"]["keep_clear"] = ["mask", 0]
    graph["mask"] = {"class_type": "LoadImageMask", "inputs": {"image": "mask.png"}}
    seen = set()
    for number in range(3):
        put(mask, number)
        seen.add(settings_of(graph, "save"))
    assert len(seen) == 3
    graph["save"]["inputs"]["filename_prefix"] = "elsewhere/%name%"
    assert settings_of(graph, "save") in seen


def test_the_style_is_chosen_from_the_same_works_when_pictures_are_added(
    pack: Pack, works: Path
) -> None:
    host = Host(pack, folder_graph())
    host.to_the_end()
    put(works / "0.png", 7)
    *_, seen = host.once()
    assert len(seen) == 4


def test_a_broken_picture_is_named_once_the_others_are_saved(pack: Pack, works: Path) -> None:
    (works / "b.jpg").write_bytes(b"no picture")
    host = Host(pack, folder_graph())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"1 failed, the others are saved: .*b\.jpg: expected"):
            host.to_the_end()
        assert list(tree(pack)) == ["a.png", "sub/a.png", "sub/c.webp"]
    assert "b.jpg" in (pack.base / "output/cloaked-reports/index.html").read_text()


def test_a_picture_that_failed_lets_the_others_go_first(
    pack: Pack, works: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(pack, folder_graph())
    cloak = pack.module("nodes.cloak")
    for_real = cloak.cloak_each
    monkeypatch.setattr(cloak, "cloak_each", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        host.once()
    monkeypatch.setattr(cloak, "cloak_each", for_real)
    assert host.to_the_end() == ["b.jpg", "a.png", "c.webp", "a.png"]


def test_a_strangers_file_is_kept(pack: Pack, works: Path) -> None:
    stranger = pack.base / "output" / "cloaked" / "a.png"
    put(stranger, 1)
    before = stranger.read_bytes()
    with pytest.raises(ValueError, match="there already and no cloak of ours"):
        Host(pack, folder_graph()).to_the_end()
    assert stranger.read_bytes() == before
    assert len(tree(pack)) == 4


@pytest.mark.parametrize(
    "prefix", ["%name%", "cloaked/art", "cloaked/%name%/x", "./%name%", "../%name%", ""]
)
def test_a_prefix_must_tell_a_folder_and_a_name(pack: Pack, works: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="must be a folder and a name"):
        Host(pack, folder_graph(filename_prefix=prefix)).once()


def test_wires_that_would_choose_a_style_for_each_picture_are_refused(
    pack: Pack, works: Path
) -> None:
    graph = folder_graph()
    graph["target"]["inputs"]["images"] = ["load", 0]
    with pytest.raises(ValueError, match="wire 'works' of Load Artwork"):
        Host(pack, graph).once()


def test_glaze_must_know_the_artist_or_the_style_to_resume(pack: Pack, works: Path) -> None:
    graph = folder_graph()
    glaze = {"image": ["load", 0], "encoder": ["load", 2], "style": "auto", "artist": ""}
    graph["glaze"] = {"class_type": "GlazeCloakPicture", "inputs": glaze}
    with pytest.raises(ValueError, match="Glaze would choose a style for each"):
        Host(pack, graph).once()


def test_resume_without_an_artwork_is_refused(pack: Pack, works: Path) -> None:
    graph = folder_graph()
    host = Host(pack, graph)
    del graph["save"]["inputs"]["artwork"]
    with pytest.raises(ValueError, match="wire the 'artwork' of Load Artwork"):
        host.once()


def test_two_files_of_each_picture_are_both_saved_before_the_next_run(
    pack: Pack, works: Path
) -> None:
    host, graph = Host(pack, folder_graph()), folder_graph()
    graph["copy"] = folder_graph(filename_prefix="small/%name%", format="jpeg")["save"]
    host.graph, queue = graph, pack.server.prompt_queue
    queue.running = [(3, "first", graph, {}, ["save", "copy"])]
    artworks = host.once()[2]
    assert queue.waiting == [], "the other one has not saved yet"
    assert set(artworks[0].jobs) == {"save", "copy"}


def test_what_is_left_to_do_is_looked_up_at_every_run(pack: Pack, works: Path) -> None:
    node, queue = pack.nodes["GlazeLoadArtwork"], pack.server.prompt_queue

    def print_of(resume: bool) -> Any:
        queue.running = [(3, "first", folder_graph(resume=resume), {}, ["save"])]
        return node.fingerprint_inputs("works/", 1, 0)

    assert print_of(False) == print_of(False)
    assert print_of(True) != print_of(True)
