"""Loading pictures and saving cloaked ones, through the nodes."""

from __future__ import annotations

import asyncio
import json
import shutil
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from comfy_glaze.files.artwork import load_artwork

from ..conftest import ARTWORKS
from .conftest import Pack, host_picture

BOX = (380, 260, 444, 324)


def put(folder: Path, name: str, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.open(ARTWORKS / "harbour.png").convert("RGB").crop(BOX).save(folder / name, **options)
    return folder / name


@pytest.fixture
def cloaked(pack: Pack) -> Any:
    """A small cloak on the embedded encoder, as two pictures."""
    picture, styled = host_picture(batch=2), host_picture(seed=1, batch=2)
    (encoder,) = pack.run("GlazeLoadEncoder").args
    (budget,) = pack.run("GlazeLPIPSBudget", metric="st-lpips-alex").args
    return pack.run(
        "GlazeCloakOptimize", image=picture, styled=styled, encoder=encoder, budget=budget, steps=2
    ).args


def test_a_folder_gives_lists_with_a_range(pack: Pack) -> None:
    for name in ("c.png", "a.png", "b.webp"):
        put(pack.base / "input" / "works", name)
    run = pack.run("GlazeLoadArtwork", source="works/", first=2, last=3)
    images, masks, artworks, _ = run.args
    assert [artwork.source.name for artwork in artworks] == ["b.webp", "c.png"]
    assert [image.shape for image in images] == [(1, 64, 64, 3)] * 2
    assert [mask.shape for mask in masks] == [(1, 64, 64)] * 2
    assert torch.equal(images[1].movedim(-1, 1), artworks[1].pixels)
    with pytest.raises(ValueError, match="within 1 to 3"):
        pack.run("GlazeLoadArtwork", source="works/", first=4)


def test_transparent_pixels_are_kept_clear(pack: Pack) -> None:
    picture = Image.new("RGBA", (40, 40), (200, 100, 50, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 10, 40))
    picture.save(pack.base / "input" / "cut.png")
    _, masks, *_ = pack.run("GlazeLoadArtwork", source="cut.png").args
    assert masks[0][0, :, :10].eq(1).all()
    assert masks[0][0, :, 10:].eq(0).all()


def test_folders_of_input_and_output_can_be_chosen(pack: Pack) -> None:
    put(pack.base / "input", "art.png")
    put(pack.base / "output" / "made" / "today", "new.png")
    schema = pack.nodes["GlazeLoadArtwork"].define_schema()
    options = schema.inputs[0].options["options"]
    assert {"art.png", "./", "made/ (output)", "made/today/ (output)"} <= set(options)
    images, *_ = pack.run("GlazeLoadArtwork", source="made/ (output)").args
    assert len(images) == 1


def hidden_in(graph: dict[str, Any]) -> Any:
    return SimpleNamespace(unique_id="load", prompt=graph, extra_pnginfo={})


def load_graph(**save: Any) -> dict[str, Any]:
    """A Load Artwork whose artwork goes to a Save Cloaked."""
    return {
        "load": {"class_type": "GlazeLoadArtwork", "inputs": {}},
        "save": {"class_type": "GlazeSaveCloaked", "inputs": {"artwork": ["load", 2]} | save},
    }


def test_what_a_range_leaves_out_is_said(pack: Pack) -> None:
    for number in range(5):
        put(pack.base / "input" / "works", f"{number}.png")
    run = pack.run("GlazeLoadArtwork", hidden_in({}), source="works/", first=1, last=2)
    said = "Only 2 of 5 pictures: 'first' and 'last' leave out the others."
    assert pack.server.sent[-1] == (said, {}, "load")
    assert all(artwork.notes == (said,) for artwork in run.args[2]), "Save Cloaked says it too"
    whole = pack.run("GlazeLoadArtwork", hidden_in({}), source="works/")
    assert pack.server.sent[-1][0] == "5 pictures."
    assert {artwork.notes for artwork in whole.args[2]} == {()}
    before = len(pack.server.sent)
    pack.run("GlazeLoadArtwork", hidden_in({}), source="works/0.png")
    assert len(pack.server.sent) == before, "a single picture needs no words"


def test_a_folder_goes_on_after_a_broken_file(pack: Pack) -> None:
    for name in ("a.png", "b.png", "c.png"):
        put(pack.base / "input" / "works", name)
    (pack.base / "input/works/b.png").write_bytes(b"no picture")
    run = pack.run("GlazeLoadArtwork", hidden_in({}), source="works/")
    assert [artwork.source.name for artwork in run.args[2]] == ["a.png", "c.png"]
    (note,) = run.args[2][0].notes
    assert note.startswith("1 left out: b.png: expected a PNG")
    assert pack.server.sent[-1][0] == note
    for name in ("a.png", "c.png"):
        (pack.base / "input/works" / name).unlink()
    with pytest.raises(ValueError, match=r"^b\.png: expected a PNG"):
        pack.run("GlazeLoadArtwork", source="works/")


def test_what_cannot_be_saved_is_told_before_it_is_cloaked(pack: Pack) -> None:
    picture = Image.new("RGBA", (40, 40), (200, 100, 50, 100))
    (pack.base / "input/works").mkdir()
    picture.save(pack.base / "input/works/clear.png")
    hidden = hidden_in(load_graph(format="jpeg"))
    with pytest.raises(ValueError, match=r"^clear\.png: expected png or webp for transparency"):
        pack.run("GlazeLoadArtwork", hidden, source="works/clear.png")
    put(pack.base / "input" / "works", "solid.png")
    artworks = pack.run("GlazeLoadArtwork", hidden, source="works/").args[2]
    assert [artwork.source.name for artwork in artworks] == ["solid.png"]


@pytest.mark.parametrize("folder", ["clipspace/", ""])  # of older and of newer pages
def test_what_the_mask_editor_painted_is_a_mask_and_no_hole(pack: Pack, folder: str) -> None:
    painted = put(pack.base / "input" / folder, "clipspace-painted-masked-1.png")
    with Image.open(painted) as picture:
        holed = picture.convert("RGBA")
    alpha = Image.new("L", holed.size, 255)
    alpha.paste(0, (0, 0, 20, 64))
    holed.putalpha(alpha)
    holed.save(painted)
    source = f"{folder}clipspace-painted-masked-1.png [input]"
    _, masks, artworks, _ = pack.run("GlazeLoadArtwork", source=source).args
    assert artworks[0].alpha is None
    assert masks[0].shape == (1, 64, 64)
    assert masks[0][0, :, :20].eq(1).all()
    assert masks[0][0, :, 20:].eq(0).all()


def test_what_is_no_artwork_is_neither_offered_nor_loaded(pack: Pack) -> None:
    put(pack.base / "input", "art.png")
    put(pack.base / "input" / "clipspace", "clipspace-paint-1.png")
    for layer in ("mask", "paint", "painted", "painted-masked"):
        put(pack.base / "input", f"clipspace-{layer}-1795904728553.png")
    put(pack.base / "input" / "client-reports", "mine.png")
    put(pack.base / "output" / "cloaked", "a.png")
    put(pack.base / "output" / "cloaked-reports" / "old", "a.png.sheet.png")
    (pack.base / "output/cloaked-reports/manifest.jsonl").touch()
    put(pack.base / "output" / "glaze-reports", "b.png.styled.png")
    (pack.base / "output/glaze-reports/b.png.glaze.json").touch()
    options = pack.nodes["GlazeLoadArtwork"].define_schema().inputs[0].options["options"]
    assert options == ["art.png", "./", "client-reports/", "./ (output)", "cloaked/ (output)"]
    for source, names in (("./", {"art.png", "mine.png"}), ("./ (output)", {"a.png"})):
        artworks = pack.run("GlazeLoadArtwork", source=source).args[2]
        assert {artwork.source.name for artwork in artworks} == names


def test_a_source_may_come_through_a_wire(pack: Pack) -> None:
    """The host then knows no value before the run, and gives None."""
    node = pack.nodes["GlazeLoadArtwork"]
    assert node.validate_inputs(source=None) is True
    seen = [node.fingerprint_inputs(source=None, first=1, last=0) for _ in range(2)]
    assert seen[0] != seen[1], "what has changed on the disk is not known"


def test_the_page_shows_what_a_run_takes_of_a_folder(pack: Pack) -> None:
    pytest.importorskip("aiohttp")
    for number in range(9):
        put(pack.base / "input" / "works" / "old", f"{number}.png")
    put(pack.base, "secret.png")
    pack.module("nodes.host.routes").register()

    def ask(path: str, **query: str) -> Any:
        handler = pack.server.handlers[f"/comfy_glaze/{path}"]
        return asyncio.run(handler(SimpleNamespace(query=query)))

    listed = json.loads(ask("folder", source="works/", first="2", last="8").body)
    assert (listed["chosen"], listed["total"]) == (7, 9)
    assert listed["names"] == [f"old/{number}.png" for number in range(1, 7)]
    shown = Image.open(BytesIO(ask("folder_picture", source="works/", name="old/1.png").body))
    assert (shown.format, shown.size) == ("WEBP", (64, 64))
    beyond = ask("folder", source="works/", first="10", last="0")
    assert beyond.status == 404
    assert "expected a range within 1 to 9, the number" in json.loads(beyond.body)["error"]
    for source, name in (("works/", "../../secret.png"), ("../", "secret.png"), ("", "")):
        assert ask("folder_picture", source=source, name=name).status == 404


@pytest.mark.parametrize(
    "source", ["../secret.png", "/etc", "gone.png", "../ (output)", "../ [output]"]
)
def test_nothing_outside_the_hosts_folders_is_read(pack: Pack, source: str) -> None:
    put(pack.base, "secret.png")
    node = pack.nodes["GlazeLoadArtwork"]
    assert "expected a picture or folder" in node.validate_inputs(source)
    with pytest.raises(ValueError, match="expected a picture or folder"):
        pack.run("GlazeLoadArtwork", source=source)


def test_a_changed_file_is_loaded_again(pack: Pack) -> None:
    path = put(pack.base / "input", "art.png")
    node = pack.nodes["GlazeLoadArtwork"]
    before = node.fingerprint_inputs("art.png", 1, 0)
    assert node.fingerprint_inputs("art.png", 1, 0) == before
    shutil.copyfile(put(pack.base / "input", "other.png", compress_level=0), path)
    assert node.fingerprint_inputs("art.png", 1, 0) != before


def save(pack: Pack, cloaked: Any, **inputs: Any) -> list[dict[str, Any]]:
    image, cloak = cloaked
    rows: list[dict[str, Any]] = pack.run(
        "GlazeSaveCloaked", **({"images": image, "cloak": cloak} | inputs)
    ).ui["glaze"]
    return rows


def saved(pack: Pack, row: dict[str, Any]) -> Path:
    folder = {"output": "output", "temp": "temp"}[row["type"]]
    return pack.base / folder / row["subfolder"] / row["filename"]


def test_each_picture_of_a_batch_is_saved_with_its_own_report(pack: Pack, cloaked: Any) -> None:
    rows = save(pack, cloaked)
    assert len(rows) == 2
    for row, image in zip(rows, cloaked[0], strict=True):
        path = saved(pack, row["file"])
        assert path.parent.name == "cloaked"
        assert torch.equal(load_artwork(path).pixels[0], image.movedim(-1, 0))
        report = path.parent.with_name("cloaked-reports") / f"{path.name}.glaze.json"
        assert json.loads(report.read_text("utf-8")) == json.loads(json.dumps(row["measures"]))
        assert row["measures"]["rehearsal"]
        assert row["measures"]["target_style"]["name"] is None
        assert row["note"] is None
    names = {path.name.split(".", 2)[2] for path in report.parent.iterdir()}
    assert names == {"glaze.json", "sheet.png", "styled.png"}
    first = load_artwork(saved(pack, rows[0]["original"])).pixels
    assert torch.equal(first, host_picture(batch=2)[:1].movedim(-1, 1))


def test_nothing_but_pictures_lies_where_they_are_published(pack: Pack, cloaked: Any) -> None:
    save(pack, cloaked)
    save(pack, cloaked, filename_prefix="loose")
    assert {p.suffix for p in (pack.base / "output" / "cloaked").iterdir()} == {".png"}
    assert sorted(p.name for p in (pack.base / "output").iterdir()) == [
        "cloaked",
        "cloaked-reports",
        "glaze-reports",
        *sorted(p.name for p in (pack.base / "output").glob("loose*.png")),
    ]


def test_a_picture_that_was_changed_on_the_way_is_measured_anew(pack: Pack, cloaked: Any) -> None:
    brighter = (cloaked[0] + 20 / 255).clamp(0, 1)
    before, after = save(pack, cloaked)[0], save(pack, cloaked, images=brighter)[0]
    assert after["note"] == "A node in between changed the pixels: measured anew."
    assert round(after["measures"]["linf"] * 255) > round(before["measures"]["linf"] * 255)
    assert after["measures"]["psnr"] < before["measures"]["psnr"]
    smaller = save(pack, cloaked, images=cloaked[0][:, ::2, ::2])[0]
    assert smaller["note"].startswith("A node in between changed the size")


def test_a_lossy_file_is_measured_as_it_decodes(pack: Pack, cloaked: Any) -> None:
    row = save(pack, cloaked, format="jpeg", quality=60)[0]
    decoded = load_artwork(saved(pack, row["file"])).pixels
    change = (decoded - host_picture(batch=2)[:1].movedim(-1, 1)).abs().max()
    assert row["measures"]["encoded"]["linf"] == pytest.approx(float(change), abs=1e-6)


def test_the_artworks_own_name_and_transparency_are_kept(pack: Pack) -> None:
    picture = Image.open(ARTWORKS / "harbour.png").convert("RGBA").crop(BOX)
    picture.putalpha(
        Image.linear_gradient("L").resize(picture.size).point(lambda a: max(0, a - 64))
    )
    picture.save(pack.base / "input" / "my work.webp", lossless=True, exact=True)
    images, masks, artworks, _ = pack.run("GlazeLoadArtwork", source="my work.webp").args
    (encoder,) = pack.run("GlazeLoadEncoder").args
    (budget,) = pack.run("GlazeLPIPSBudget", metric="none").args
    cloaked = pack.run(
        "GlazeCloakOptimize",
        image=images[0],
        styled=host_picture(),
        encoder=encoder,
        budget=budget,
        keep_clear=masks[0],
        steps=2,
    ).args
    (row,) = save(pack, cloaked, artwork=artworks[0], quality=100)
    assert row["file"]["filename"] == "my work_00001_.webp"
    back = load_artwork(saved(pack, row["file"]))
    assert back.alpha is not None
    assert torch.equal(back.alpha, artworks[0].alpha)
    clear = masks[0][0] == 1
    assert clear.any()
    assert torch.equal(back.pixels[0, :, clear], artworks[0].pixels[0, :, clear])
    assert row["measures"]["source"]["sha256"] == artworks[0].sha256


@pytest.mark.parametrize("format", ["png", "webp"])
def test_the_graph_is_written_only_when_asked_for(pack: Pack, cloaked: Any, format: str) -> None:
    hidden = SimpleNamespace(prompt={"1": "the secret style"}, extra_pnginfo={"workflow": {}})

    def written(metadata: bool) -> bytes:
        image, cloak = cloaked
        run = pack.run(
            "GlazeSaveCloaked", hidden, images=image, cloak=cloak, format=format, metadata=metadata
        )
        return saved(pack, run.ui["images"][0]).read_bytes()

    assert b"secret style" not in written(False)
    assert b"secret style" in written(True)


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_the_training_statement_is_written_only_when_asked_for(
    pack: Pack, cloaked: Any, format: str
) -> None:
    for asked in (False, True):
        row = save(pack, cloaked, format=format, no_ai_training=asked)[0]
        assert (b"DMI-PROHIBITED-AIMLTRAINING" in saved(pack, row["file"]).read_bytes()) is asked


def test_png_text_is_what_the_host_reads_back(pack: Pack, cloaked: Any) -> None:
    hidden = SimpleNamespace(prompt={"1": "x"}, extra_pnginfo={"workflow": {"nodes": []}})
    image, cloak = cloaked
    run = pack.run("GlazeSaveCloaked", hidden, images=image, cloak=cloak, metadata=True)
    with Image.open(saved(pack, run.ui["images"][0])) as file:
        assert json.loads(file.info["prompt"]) == {"1": "x"}
        assert json.loads(file.info["workflow"]) == {"nodes": []}


def test_wrong_wires_are_named(pack: Pack, cloaked: Any) -> None:
    with pytest.raises(ValueError, match="'images' must be as many as the Cloak node has made"):
        save(pack, cloaked, images=cloaked[0][:1])
