"""Whole cells on a tiny random pipeline: kept, resumed, and put into tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import CloakSettings
from comfy_glaze.evaluation.benchmark import enter, run_grid, world_of
from comfy_glaze.evaluation.experiment import run_cell
from comfy_glaze.evaluation.generation import Generation
from comfy_glaze.evaluation.lab import Artist, Lab
from comfy_glaze.evaluation.mimicry import FineTuning
from comfy_glaze.evaluation.prompt_inversion import Inverter, inverted_captions
from comfy_glaze.evaluation.scenarios import CAPS, GLAZE, GRIDS, PLAIN, Scenario, with_encoder
from comfy_glaze.evaluation.tables import fall, markdown, read_tables, summarise
from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.images import to_grid
from comfy_glaze.judges.features import load_features
from comfy_glaze.judges.genres import Classifier
from comfy_glaze.networks.captions import Work, split_works
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles.bank import Style
from comfy_glaze.styles.transfer import StyleTransfer

from ..conftest import needs_matplotlib, smooth_picture

CPU = torch.device("cpu")
TARGET = Style("Inverted", "Pop Art", None, "a negative", None)


def shades(images: Tensor) -> Tensor:
    bright = images.mean(dim=(1, 2, 3))
    return torch.stack([bright, 1 - bright, torch.full_like(bright, 0.4)], dim=1)


@pytest.fixture
def artist(tmp_path: Path) -> Artist:
    (tmp_path / "works").mkdir()
    works = []
    for i in range(5):
        picture = smooth_picture(40, 40, seed=i)
        path = tmp_path / "works" / f"piece {i}.png"
        save_artwork(picture, Artwork(picture), path)
        works.append(Work(path, f"a lake {i} by ada"))
    stranger = tmp_path / "stranger.png"
    save_artwork(smooth_picture(50, 60, seed=9), Artwork(smooth_picture(50, 60, seed=9)), stranger)
    return Artist("ada", tuple(works), "light", TARGET, stranger)


@pytest.fixture
def lab(tiny_pipeline: str, tmp_path: Path) -> Lab:
    metric = load_metric("st-lpips-alex")
    return Lab(
        folder=tmp_path / "lab",
        generator=tiny_pipeline,
        encoder=load_encoder(tiny_pipeline),
        style_transfer=StyleTransfer(
            "negative", lambda x, *_: 1 - x, lambda _: True, lambda: "0" * 16
        ),
        metric=metric,
        extractor=load_features("st-lpips-alex"),
        texture=metric,
        classifier=Classifier("shades", ("light", "dark", "grey"), shades, CPU),
        tuning=FineTuning(steps=2, batch=2, resolution=32, learning_rate=1e-3),
        generation=Generation(steps=1, images_per_caption=4, resolution=32),
        cloaking=CloakSettings(steps=2),
    )


def run(lab: Lab, artist: Artist, scenario: Scenario, **options: Any) -> dict[str, Any]:
    cell = run_cell(lab, artist, scenario, 0, **options)
    assert cell is not None
    return cell


def test_a_cell_is_measured_kept_and_read_again(lab: Lab, artist: Artist) -> None:
    stages: list[str] = []
    cell = run(lab, artist, GLAZE, on_progress=lambda p: stages.append(p.stage))
    assert list(dict.fromkeys(stages)) == ["cloak", "fine-tune", "draw", "measure"]
    assert len(cell["pictures"]) == 4
    assert len(cell["cloaks"]) == 4
    assert all(one["perceptual"] <= 0.05 for one in cell["cloaks"])
    assert all(one["linf"] <= CAPS[0.05] + 1e-6 for one in cell["cloaks"])
    assert all(set(row["top"]) == {"light", "dark", "grey"} for row in cell["pictures"])
    mimic = next((lab.folder / "mimics").iterdir())
    assert (mimic / "log.jsonl").is_file()
    assert not (mimic / "unet").exists()

    stages.clear()
    again = run(lab, artist, replace(GLAZE, name="other"), on_progress=lambda p: stages.append("x"))
    assert not stages
    assert again == cell | {"name": "other"}


def test_another_classifier_measures_anew_without_training(lab: Lab, artist: Artist) -> None:
    first = run(lab, artist, PLAIN)
    assert lab.classifier is not None
    other = replace(lab, classifier=replace(lab.classifier, name="other shades"))
    stages: list[str] = []
    second = run(other, artist, PLAIN, on_progress=lambda p: stages.append(p.stage))
    assert set(stages) == {"measure"}
    assert second["pictures"] == first["pictures"]
    assert second["judges"]["classifier"] == "other shades"


def test_an_interrupted_cell_goes_on(lab: Lab, artist: Artist) -> None:
    assert run_cell(lab, artist, GLAZE, 0, until=0.0) is None
    cloaked = next((lab.folder / "cloaked").rglob("*.png"))
    stamp = cloaked.stat().st_mtime_ns
    cell = run(lab, artist, GLAZE)
    assert cell["training"]["step"] == 2
    assert cloaked.stat().st_mtime_ns == stamp


def test_share_decides_how_many_works_are_cloaked(lab: Lab, artist: Artist) -> None:
    half = run(lab, artist, replace(GLAZE, share=0.5))
    assert len(half["cloaks"]) == 2
    assert run(lab, artist, replace(GLAZE, share=0.0))["scenario"]["system"] == "none"


def test_prompting_alone_trains_nothing(lab: Lab, artist: Artist) -> None:
    cell = run(lab, artist, replace(PLAIN, steps=0))
    assert cell["training"] is None
    assert len(cell["pictures"]) == 4


def test_countermeasures_change_what_is_trained_on_and_what_is_drawn(
    lab: Lab, artist: Artist
) -> None:
    def darken(images: Tensor, seed: int) -> Tensor:
        return to_grid(0.5 * images)

    lab = replace(lab, countermeasures={"darken": darken})
    cell = run(lab, artist, replace(GLAZE, before="darken"))
    altered = sorted((lab.folder / "altered").rglob("*.png"))
    assert len(altered) == 4
    assert all(load_artwork(path).pixels.max() <= 0.51 for path in altered)
    assert cell["training"] is not None
    plain, dark = run(lab, artist, PLAIN), run(lab, artist, replace(PLAIN, after="darken"))
    pairs = zip(plain["pictures"], dark["pictures"], strict=True)
    assert all(after["noise"] < before["noise"] for before, after in pairs)
    with pytest.raises(ValueError, match="countermeasure of this lab"):
        run(lab, artist, replace(GLAZE, before="bleach"))


def test_another_tools_cloaks_are_measured_by_the_same_rule(lab: Lab, artist: Artist) -> None:
    folder = lab.folder.with_name("theirs")
    folder.mkdir()
    for work in artist.works:
        pixels = to_grid((load_artwork(work.path).pixels + 3 / 255).clamp(0, 1))
        save_artwork(pixels, Artwork(pixels), folder / work.path.name)
    lab = replace(lab, entries={"Theirs": folder})
    cell = run(lab, artist, Scenario("Theirs", system="Theirs"))
    assert [one["linf"] for one in cell["cloaks"]] == pytest.approx([3 / 255] * 4, abs=1e-6)
    small = smooth_picture(40, 48)
    save_artwork(small, Artwork(small), folder / artist.works[0].path.name)
    seed = next(s for s in range(1, 9) if artist.works[0] in split_works(artist.works, seed=s)[0])
    with pytest.raises(ValueError, match="must have the size"):
        run_cell(lab, artist, Scenario("Theirs", system="Theirs"), seed)


def test_changed_works_are_another_cell(lab: Lab, artist: Artist) -> None:
    first = run(lab, artist, PLAIN)
    picture = smooth_picture(40, 40, seed=77)
    save_artwork(picture, Artwork(picture), artist.works[0].path)
    second = run(lab, artist, PLAIN)
    assert first["works"] != second["works"]
    assert first["folder"] != second["folder"]


def test_another_encoder_cloaks_elsewhere(lab: Lab, artist: Artist) -> None:
    other = load_encoder("embedded")
    lab = replace(lab, encoders={other.name: other})
    plain, theirs = with_encoder((PLAIN, GLAZE), other.name)
    assert plain == PLAIN
    run(lab, artist, GLAZE)
    run(lab, artist, theirs)
    folders = sorted(path.name for path in next((lab.folder / "cloaked").iterdir()).iterdir())
    assert len(folders) == 2
    assert any(other.fingerprint in name for name in folders)


@needs_matplotlib
def test_a_grid_writes_tables_and_a_picture(lab: Lab, artist: Artist) -> None:
    cells, left = run_grid(lab, [artist], (PLAIN, GLAZE), 2, {"classifier": "shades"})
    assert (len(cells), left) == (4, 0)
    tables = read_tables(lab.folder)
    assert [row["name"] for row in tables["rows"]] == ["no cloak", "Glaze, p = 0.05"]
    assert tables["rows"][0]["models"] == 2
    assert tables["fall"].keys() == {"Glaze, p = 0.05"}
    text = (lab.folder / "results.md").read_text()
    assert "classifier: shades" in text
    assert "| the artists' own works | - |" in text
    assert (lab.folder / "ada.png").stat().st_size > 1000

    some, rest = run_grid(lab, [artist], (PLAIN, GLAZE), 3, {}, minutes=0.0)
    assert (len(some), rest) == (0, 6)


# --- tables from cells of known content ----------------------------------------------------------


@pytest.fixture
def made_up() -> Callable[..., dict[str, Any]]:
    def cell(name: str, artist: str, seed: int, hits: int) -> dict[str, Any]:
        tops = [["a", "b", "c"]] * hits + [["b", "c", "d"]] * (10 - hits)
        return {
            "name": name,
            "artist": artist,
            "seed": seed,
            "genre": "a",
            "folder": f"{name}-{artist}-{seed}",
            "kernel_distance": {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9, "groups": 9},
            "generation": {"images_per_caption": 20},
            "cloaks": [],
            "own": {"style_distance": [0.1], "noise": [1.0], "top": [["a", "b", "c"]]},
            "pictures": [
                {"caption": str(i % 2), "top": top, "style_distance": 1.0, "noise": 2.0}
                for i, top in enumerate(tops)
            ],
        }

    return cell


def test_shares_and_falls(made_up: Callable[..., dict[str, Any]]) -> None:
    cells = [made_up("plain", artist, s, 8 + s) for artist in "xy" for s in range(3)]
    cells += [made_up("cloak", artist, s, 2 + s) for artist in "xy" for s in range(3)]
    plain, cloak = summarise(cells, ["plain", "cloak", "missing"])
    assert plain["mimicked"]["value"] == pytest.approx(0.9)
    assert plain["mimicked"]["groups"] == 6
    assert cloak["genre_shift"]["value"] == pytest.approx(0.7)
    assert cloak["lucky"]["value"] == 1
    assert fall(cells[:1] + cells[6:7], "plain", "cloak") is None
    drop = fall(cells, "plain", "cloak")
    assert drop is not None
    assert (drop.value, drop.low, drop.high) == pytest.approx((0.6, 0.6, 0.6))
    table = markdown([plain, cloak])
    assert "| plain | 6 | 90.0% [" in table
    assert "perceptual" not in table


def test_the_leaderboard_replaces_sorts_and_refuses(
    made_up: Callable[..., dict[str, Any]], lab: Lab, artist: Artist, tmp_path: Path
) -> None:
    rows = summarise([made_up("a", "x", 0, 9), made_up("b", "x", 0, 1)], ["a", "b"])
    board, world = tmp_path / "board.json", world_of(lab, [artist], 2)
    assert "full, 2 steps" in world
    for row in rows:
        table = enter(board, row, world)
    assert table.index("| b |") < table.index("| a |")
    better = summarise([made_up("a", "x", 0, 0)], ["a"])[0]
    assert enter(board, better, world).count("| a |") == 1
    assert [e["name"] for e in json.loads(board.read_text())["entries"]] == ["a", "b"]
    with pytest.raises(ValueError, match="another world"):
        enter(board, better, "elsewhere")


# --- scenarios -----------------------------------------------------------------------------------


def test_grids_begin_with_what_they_are_compared_with() -> None:
    for name, grid in GRIDS.items():
        assert len({scenario.name for scenario in grid}) == len(grid), name
        assert name == "luck" or not grid[0].is_cloaked
    assert len({json.dumps(s.key()) for s in GRIDS["core"]}) == 7


def test_rows_that_cloak_nothing_are_one() -> None:
    plain = PLAIN.key()
    assert Scenario("x", limit=0.0).key() == plain
    assert Scenario("x", share=0.0, encoder="e").key() == plain
    assert GLAZE.key() != plain
    with pytest.raises(ValueError, match="limit among"):
        Scenario("x", limit=0.07)
    with pytest.raises(ValueError, match="share from 0 to 1"):
        Scenario("x", share=1.5)


# --- words found for the works (PEZ) -------------------------------------------------------------


def test_a_mimic_can_ask_with_words_found_for_the_works(lab: Lab, artist: Artist) -> None:
    asked: list[int] = []

    def find(pictures: Iterable[Tensor], seed: int) -> str:
        asked.append(len(list(pictures)))
        return "teal swirls"

    named = run(lab, artist, replace(PLAIN, steps=0))
    able = replace(lab, inverter=Inverter("fake", find))
    (scenario, _) = GRIDS["inversion"]
    cell = run(able, artist, scenario)
    assert asked == [4]  # the training works, once for all prompts
    assert run(able, artist, scenario) == cell
    assert asked == [4]
    first = cell["pictures"][0]["file"]
    drawn = [lab.folder / "drawn" / str(c["folder"]) / first for c in (cell, named)]
    assert drawn[0].read_bytes() != drawn[1].read_bytes()
    assert cell["training"] is None


def test_found_words_take_the_place_of_the_name() -> None:
    captions = ["a lake by ada", "a day by the sea by ada", "a lake"]
    found = inverted_captions(captions, "teal swirls")
    assert found == ["a lake teal swirls", "a day by the sea teal swirls", "a lake teal swirls"]


def test_finding_words_needs_a_clip(lab: Lab, artist: Artist) -> None:
    with pytest.raises(ValueError, match="needs a CLIP"):
        run(lab, artist, GRIDS["inversion"][0])


def test_a_preset_of_the_program_can_be_what_cloaks(lab: Lab, artist: Artist) -> None:
    preset = Scenario("Glaze, preset gallery", preset="gallery")
    assert preset.budget.sight is not None
    spared, uniform = run(lab, artist, preset), run(lab, artist, GLAZE)
    assert spared["folder"] != uniform["folder"]
    assert max(cloak["linf"] for cloak in spared["cloaks"]) <= PRESETS["gallery"].linf + 1e-6
    closeness = [[cloak["psnr"] for cloak in cell["cloaks"]] for cell in (spared, uniform)]
    assert closeness[0] != closeness[1]


def test_rows_without_a_preset_are_known_as_before() -> None:
    assert "preset" not in GLAZE.key()
    assert Scenario("x", preset="strong").key() != Scenario("x", preset="default").key()


def test_robust_cloaks_are_made_and_kept_apart(lab: Lab, artist: Artist) -> None:
    robust = Scenario("Glaze, robust", robustness="web")
    assert robust.key() != GLAZE.key()
    assert "robustness" not in GLAZE.key()
    assert Scenario("x", limit=0.0, robustness="web").key() == PLAIN.key()
    run(lab, artist, GLAZE)
    run(lab, artist, robust)
    plain, other = sorted(next((lab.folder / "cloaked").iterdir()).iterdir())
    assert "web" not in plain.name
    assert "web" in other.name
    name = next(plain.glob("*.png")).name
    assert (plain / name).read_bytes() != (other / name).read_bytes()
