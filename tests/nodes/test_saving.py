"""What happens to a picture between Cloak and Save Cloaked, and before anything is cloaked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.ExifTags import Base
from torch import Tensor

from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.images import LEVELS

from ..conftest import ARTWORKS
from .conftest import Pack
from .stand_ins import host_vae
from .test_portfolio import Host, folder_graph

SIDE = (96, 128)  # of the artwork: height, width


@pytest.fixture
def work(pack: Pack) -> Any:
    """A picture with an author and a transparent corner, as Load Artwork gives it."""
    picture = Image.open(ARTWORKS / "harbour.png").convert("RGBA").crop((300, 200, 940, 680))
    picture = picture.resize(SIDE[::-1], Image.Resampling.LANCZOS)
    picture.paste((0, 0, 0, 0), (0, 0, 16, 12))
    exif = Image.Exif()
    exif[Base.Artist] = "Ada"
    picture.save(pack.base / "input" / "my work.png", exif=exif, dpi=(300, 300))
    images, masks, artworks, _ = pack.run("GlazeLoadArtwork", source="my work.png").args
    return SimpleNamespace(image=images[0], mask=masks[0], artwork=artworks[0])


def cloak(pack: Pack, image: Tensor) -> Any:
    (budget,) = pack.run("GlazeLPIPSBudget", metric="none").args
    given = {"image": image, "styled": 1 - image, "encoder": host_vae(), "budget": budget}
    return pack.run("GlazeCloakOptimize", **given, steps=2).args


def save(pack: Pack, **inputs: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pack.run("GlazeSaveCloaked", **inputs).ui["glaze"]
    return rows


def saved(pack: Pack, row: dict[str, Any]) -> Path:
    return pack.base / "output" / row["file"]["subfolder"] / row["file"]["filename"]


def scaled(image: Tensor, height: int, width: int) -> Tensor:
    small = torch.nn.functional.interpolate(
        image.movedim(-1, 1), (height, width), mode="bilinear", antialias=True
    )
    return small.movedim(1, -1)


def cut(image: Tensor) -> Tensor:
    return image[:, :, :64]


def cut_alike(image: Tensor) -> Tensor:
    return image[:, :72, :96]


def turned(image: Tensor) -> Tensor:
    return image.rot90(2, (1, 2))


@pytest.mark.parametrize("change", [cut, cut_alike, turned])
def test_a_crop_after_the_cloak_gets_no_number(pack: Pack, work: Any, change: Any) -> None:
    image, made = cloak(pack, work.image)
    (row,) = save(pack, images=change(image), cloak=made)
    assert row["measures"] is None
    assert row["note"].startswith("A node in between cropped or turned the picture")
    assert row["original"] is None, "the uncropped original beside it would mislead"
    pixels = load_artwork(saved(pack, row)).pixels
    assert torch.equal(pixels[0], change(image)[0].movedim(-1, 0))
    assert not list(pack.base.rglob("*.glaze.json"))


def test_a_smaller_copy_is_measured_against_the_original_at_that_size(
    pack: Pack, work: Any
) -> None:
    image, made = cloak(pack, work.image)
    (row,) = save(pack, images=scaled(image, 72, 96), cloak=made, artwork=work.artwork)
    assert row["note"].startswith("A node in between changed the size")
    assert 0 < row["measures"]["shift"]["512"] < 1


@pytest.mark.parametrize(("size", "keeps_alpha"), [((72, 96), True), ((64, 64), False)])
def test_a_resize_before_the_cloak_keeps_name_and_author(
    pack: Pack, work: Any, size: tuple[int, int], keeps_alpha: bool
) -> None:
    image, made = cloak(pack, scaled(work.image, *size))
    (row,) = save(pack, images=image, cloak=made, artwork=work.artwork)
    assert row["note"] is None
    assert row["measures"]["source"]["file"] == "my work.png"
    path = saved(pack, row)
    assert path.name == "my work_00001_.png"
    back = load_artwork(path)
    assert torch.equal(back.pixels[0], image[0].movedim(-1, 0))
    assert (back.alpha is not None) is keeps_alpha
    assert back.dpi == work.artwork.dpi
    with Image.open(path) as file:
        assert file.getexif()[Base.Artist] == "Ada"


def test_a_picture_too_small_to_cloak_is_refused_before_the_work(pack: Pack, work: Any) -> None:
    small = work.image[:, :9, :17]
    with pytest.raises(ValueError, match=r"at least 32 × 32 pixels, but got 17 × 9"):
        cloak(pack, small)
    target = SimpleNamespace(style=None)
    with pytest.raises(ValueError, match="but got 17 × 9"):
        pack.run("GlazeStyleTransfer", image=small, target_style=target)


def test_a_place_that_cannot_be_saved_to_is_refused_before_the_run(pack: Pack) -> None:
    validate = pack.nodes["GlazeSaveCloaked"].validate_inputs
    out = pack.base / "output"
    (out / "taken").write_bytes(b"")
    (out / "made-reports").write_bytes(b"")
    for prefix, words in (
        ("taken/%name%", "needs a folder called taken in"),
        ("taken/deep/%name%", "needs a folder called taken in"),
        ("made/%name%", "needs a folder called made-reports in"),
        ("../art", "must lead into ComfyUI's output folder"),
    ):
        assert words in str(validate(filename_prefix=prefix)), prefix
        assert str(pack.base) not in str(validate(filename_prefix=prefix))
    for prefix in ("cloaked/%name%", "a/%year%/b/%name%", "art", "", None):
        assert validate(filename_prefix=prefix) is True, prefix
    assert sorted(path.name for path in out.iterdir()) == ["made-reports", "taken"]


def test_without_a_cloak_the_picture_is_shown_and_nothing_saved(pack: Pack, work: Any) -> None:
    """Cloak bypassed: its picture comes through. Muted: nothing does."""
    for wires, shown in (
        ({"images": work.image}, True),
        ({"artwork": work.artwork}, True),
        ({}, False),
    ):
        (row,) = save(pack, **wires)
        assert row["note"].startswith("Nothing was saved: no cloak came in.")
        assert row["file"] is row["measures"] is None
        assert (row["original"] is not None) is shown
        if shown:
            picture = load_artwork(pack.base / "temp" / row["original"]["filename"]).pixels
            assert torch.equal(picture, work.artwork.pixels)
    assert list((pack.base / "output").iterdir()) == []


def test_a_folder_that_resumes_ends_where_cloak_is_bypassed(pack: Pack, work: Any) -> None:
    graph = folder_graph()
    queue = pack.server.prompt_queue
    queue.running = [(3, "first", graph, {}, ["save"])]
    hidden = SimpleNamespace(unique_id="save", prompt=graph, extra_pnginfo={})
    given = {"images": work.image, "artwork": work.artwork, "resume": True}
    pack.run("GlazeSaveCloaked", hidden, **given)
    assert queue.waiting == [], "it would never end"


def test_what_a_range_leaves_out_is_said_where_it_is_saved(pack: Pack) -> None:
    works = pack.base / "input" / "works"
    works.mkdir()
    for number in range(3):
        picture = Image.effect_noise((48, 40), 30 + number).convert("RGB")
        picture.save(works / f"{number}.png")
    host = Host(pack, folder_graph())
    host.graph["load"]["inputs"]["last"] = 2
    host.to_the_end()
    assert [text for text, _, node in pack.server.sent if node == "load"][-1] == (
        "2 of 2 are saved. Only 2 of 3 pictures: 'first' and 'last' leave out the others."
    )


def test_what_a_model_sees_is_the_hosts_own_round_trip(pack: Pack, work: Any) -> None:
    image, made = cloak(pack, work.image)
    (row,) = save(pack, images=image, cloak=made)
    (seen,) = row["seen"]
    assert seen["name"] == "SmallVAE"
    trained = pack.module("comfy_glaze.portfolio.seen").as_trained
    vae = made.encoder
    for key, picture in (("original", work.image), ("cloaked", image)):
        with torch.inference_mode():
            wanted = vae.decode(vae.encode(trained(picture.movedim(-1, 1)).movedim(1, -1)))
        found = load_artwork(pack.base / "temp" / seen[key]["filename"]).pixels
        assert (found - wanted.movedim(-1, 1)).abs().max() <= 0.5 / LEVELS + 1e-6
    assert pack.memory.current_loaded_models == []


def test_an_encoder_alone_shows_no_decoded_picture_and_a_broken_decoder_loses_nothing(
    pack: Pack, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, made = cloak(pack, work.image)
    embedded = replace(made, encoder=pack.run("GlazeLoadEncoder").args[0])
    (row,) = save(pack, images=image, cloak=embedded)
    assert row["seen"] == []

    def broken(latent: Tensor) -> Tensor:
        raise RuntimeError("this kind decodes videos alone")

    monkeypatch.setattr(made.encoder, "decode", broken)
    (row,) = save(pack, images=image, cloak=made)
    assert row["seen"] == []
    assert saved(pack, row).is_file()


def test_errors_name_files_and_no_absolute_paths(pack: Pack, work: Any) -> None:
    image, made = cloak(pack, work.image)
    (pack.base / "output" / "cloaked-reports").write_bytes(b"")
    with pytest.raises(ValueError, match="cloaked-reports") as failed:
        save(pack, images=image, cloak=made)
    assert str(pack.base) not in str(failed.value)
    (pack.base / "input" / "empty").mkdir()
    with pytest.raises(ValueError, match=r"^empty: expected pictures in it") as failed:
        pack.run("GlazeLoadArtwork", source="empty/")
    assert str(pack.base) not in str(failed.value)


def test_what_the_format_cannot_hold_is_told_before_a_cloak_is_asked_for(
    pack: Pack, work: Any
) -> None:
    """Load Artwork, which tells it too, does not run again when the format is changed."""
    asked = pack.nodes["GlazeSaveCloaked"].check_lazy_status
    wired = {"images": None, "cloak": None, "quality": 95}  # None: not computed yet
    with pytest.raises(ValueError, match=r"^my work\.png: expected png or webp for transparency"):
        asked(format="jpeg", artwork=work.artwork, **wired)
    assert asked(format="same", artwork=work.artwork, **wired) == ["images", "cloak"]
    assert asked(format="jpeg", **wired) == ["images", "cloak"]
    assert asked(format="same", images=work.image) == [], "Cloak is bypassed"
