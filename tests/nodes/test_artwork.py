"""Loading pictures and saving cloaked ones, through the nodes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

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
    with pytest.raises(ValueError, match="within its 3 pictures"):
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
    with pytest.raises(ValueError, match="'images' must be the 2 pictures"):
        save(pack, cloaked, images=cloaked[0][:1])
    put(pack.base / "input", "art.png")
    artwork = pack.run("GlazeLoadArtwork", source="art.png").args[2][0]
    larger: Tensor = torch.cat([cloaked[0], cloaked[0]], dim=1)
    with pytest.raises(ValueError, match="'artwork' must be what"):
        save(pack, cloaked, images=larger, artwork=artwork)
