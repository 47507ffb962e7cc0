"""The kinds of pictures that artists have, each through the whole path from file to file."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, JpegImagePlugin, PngImagePlugin

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.files.artwork import find_artworks
from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.files.options import SaveOptions, SizeLimit
from comfy_glaze.files.passed_over import passed_over
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import plan_outputs, reports_folder
from comfy_glaze.portfolio.run import Outcome, cloak_portfolio

from ..conftest import smooth_picture
from .runs import small_engine


def soft(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """A soft picture with some grain, (H, W, 3)."""
    return (smooth_picture(height, width, seed)[0].permute(1, 2, 0) * 255).round().byte().numpy()


def cartoon(height: int = 96, width: int = 112) -> Image.Image:
    """Twelve flat colours in shapes with uneven edges, as an indexed picture."""
    picture = Image.new("P", (width, height), 0)
    picture.putpalette([value for n in range(12) for value in (20 * n, 255 - 17 * n, 60 + 11 * n)])
    draw = ImageDraw.Draw(picture)
    for number in range(1, 12):
        draw.ellipse([7 * number, 5 * number, 7 * number + 31, 5 * number + 23], fill=number)
    return picture


def squares(size: int, count: int = 16, top: int = 0) -> Image.Image:
    """Pixel art, enlarged: ``count`` squares of ``size`` pixels each way, cut at the top."""
    colours = np.random.default_rng(3).integers(0, 9, (count, count)).astype(np.uint8)
    whole = colours.repeat(size, 0).repeat(size, 1)[top:]
    picture = Image.fromarray(np.ascontiguousarray(whole))
    picture.putpalette([value for n in range(9) for value in (25 * n, 90, 230 - 20 * n)])
    return picture


def cloak(
    top: Path, saving: SaveOptions | None = None, few_colours: str = "keep"
) -> dict[str, Outcome]:
    """What becomes of each picture in a folder, by its name below the output folder."""
    engine = small_engine(steps=8)
    engine = replace(
        engine,
        saving=saving or SaveOptions(),
        settings=replace(engine.settings, few_colours=few_colours),
    )
    out = top.parent / "out"
    reports_folder(out).mkdir(parents=True, exist_ok=True)
    manifest = Manifest(reports_folder(out))
    jobs, refused = plan_outputs(find_artworks([top]), out, engine.saving.format, manifest)
    assert not refused
    return {found.job.name: found for found in cloak_portfolio(jobs, engine, manifest)}


def report_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.error is None
    assert outcome.report is not None
    return outcome.report


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


# Grey


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_stays_grey(top: Path, suffix: str, mode: str) -> None:
    if mode == "LA" and suffix == "jpg":
        mode = "L"
    picture = Image.fromarray(soft()).convert(mode.removesuffix("A"))
    if mode == "LA":
        picture = picture.convert("LA")
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(top / f"art.{suffix}")
    report = report_of(cloak(top)[f"art.{suffix}"])
    with Image.open(top.parent / f"out/art.{suffix}") as saved:
        assert saved.mode == ("L" if mode == "1" else mode)
        if mode == "LA":
            assert saved.getchannel("A").tobytes() == picture.getchannel("A").tobytes()
    assert report["shift"]["512"] > 0.02


def test_grey_of_sixteen_bits_stays_grey(top: Path) -> None:
    vips = pytest.importorskip("pyvips", reason="needs pyvips (extra io)")
    values = np.random.default_rng(1).integers(0, 65536, (48, 64), dtype=np.uint16)
    vips.Image.new_from_array(values, interpretation="grey16").pngsave(str(top / "art.png"))
    report_of(cloak(top)["art.png"])
    saved = vips.Image.new_from_file(str(top.parent / "out/art.png"))
    assert (saved.bands, saved.format) == (1, "ushort")
    changed = saved.numpy().reshape(48, 64).astype(int) - values
    assert 0 < np.abs(changed).max() <= 6 * 257


def test_a_cloak_on_grey_keeps_the_room_of_a_preset(top: Path) -> None:
    Image.fromarray(soft()).convert("L").save(top / "art.png")
    engine = replace(small_engine(steps=8), budget=replace(PRESETS["strong"], metric="none"))
    reports_folder(top.parent / "out").mkdir()
    manifest = Manifest(reports_folder(top.parent / "out"))
    jobs, _ = plan_outputs(find_artworks([top]), top.parent / "out", "same", manifest)
    (outcome,) = cloak_portfolio(jobs, engine, manifest)
    assert report_of(outcome)["linf"] <= 11 / 255 + 1e-6
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "L"


# Few colours


def test_a_palette_stays_one(top: Path) -> None:
    cartoon().save(top / "art.png")
    report = report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "P"
        found = np.asarray(saved.convert("RGB")).astype(int)
    original = np.asarray(cartoon().convert("RGB")).astype(int)
    assert 12 < len(np.unique(found.reshape(-1, 3), axis=0)) <= 256
    assert 0 < np.abs(found - original).max() <= 6
    assert report["linf"] == pytest.approx(np.abs(found - original).max() / 255)
    assert report["shift"]["512"] > 0.02
    (sentence,) = report["remarks"]
    assert "12 colours" in sentence
    assert "--few-colours" in sentence


def test_transparent_colours_of_a_palette_stay_as_they_were(top: Path) -> None:
    picture = cartoon()
    picture.save(top / "art.png", transparency=bytes([0, 255, 128]))
    report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "P"
        found = np.asarray(saved.convert("RGBA"))
    with Image.open(top / "art.png") as source:
        before = np.asarray(source.convert("RGBA"))
    assert np.array_equal(found[..., 3], before[..., 3])
    assert np.array_equal(found[before[..., 3] == 0], before[before[..., 3] == 0])
    assert not np.array_equal(found, before)


@pytest.mark.parametrize(("size", "cut"), [(4, 0), (7, 3), (8, 5)])
def test_pixel_art_changes_by_whole_squares(top: Path, size: int, cut: int) -> None:
    squares(size, top=cut).save(top / "art.png")
    report = report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        found = np.asarray(saved.convert("RGB")).astype(int)
    before = np.asarray(squares(size, top=cut).convert("RGB"))
    assert (found != before).any()
    rows = found[size - cut if cut else 0 :]
    for axis, values in ((0, rows), (1, rows)):
        first = values.take(range(0, values.shape[axis], size), axis)
        whole = first.repeat(size, axis).take(range(values.shape[axis]), axis)
        assert np.array_equal(whole, values)
    assert f"squares of {size} × {size} pixels" in report["remarks"][0]
    size = report["bytes"]
    assert size["after"] <= 4 * size["before"] or "--max-size 4x" in size["reason"]


def test_few_colours_may_be_cloaked_freely_or_left_alone(top: Path) -> None:
    cartoon().save(top / "art.png")
    squares(6).convert("RGB").save(top / "blocks.png")
    Image.fromarray(soft()).save(top / "photo.png")
    kept = {name: report_of(one)["shift"]["512"] for name, one in cloak(top).items()}
    free = {name: report_of(one) for name, one in cloak(top, few_colours="free").items()}
    assert all(free[name]["shift"]["512"] >= kept[name] - 1e-3 for name in kept)
    assert free["art.png"]["shift"]["512"] > kept["art.png"]
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "RGB"
    (top.parent / "out").rename(top.parent / "before")
    left = cloak(top, few_colours="leave")
    assert left["photo.png"].report is not None
    for name in ("art.png", "blocks.png"):
        assert left[name].report is None
        assert left[name].error is None
        assert name in (left[name].left_alone or "")
        assert not (top.parent / "out" / name).exists()


def test_more_colours_than_leave_room_for_a_cloak_are_said(top: Path) -> None:
    Image.fromarray(soft()).quantize(200).save(top / "art.png")
    report = report_of(cloak(top)["art.png"])
    assert "200 colours" in report["remarks"][0]
    assert "in a palette" not in report["remarks"][0]
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "RGB"


# JPEG, and sizes


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_keeps_sampling_and_progressive_coding(
    top: Path, sampling: str, progressive: bool
) -> None:
    Image.fromarray(soft()).save(
        top / "art.jpg", quality=88, subsampling=sampling, progressive=progressive
    )
    report = report_of(cloak(top, SaveOptions(keep_shift=0.0))["art.jpg"])
    with Image.open(top.parent / "out/art.jpg") as saved:
        assert JpegImagePlugin.get_sampling(saved) == ["4:4:4", "4:2:2", "4:2:0"].index(sampling)
        assert bool(saved.info.get("progressive")) is progressive
    assert (report["source"]["quality"], report["output"]["quality"]) == (88, 88)
    before, after = ((top.parent / at / "art.jpg").stat().st_size for at in ("in", "out"))
    assert (report["bytes"]["before"], report["bytes"]["after"]) == (before, after)


def test_a_jpeg_that_grows_says_why_and_what_helps(top: Path) -> None:
    picture = Image.fromarray(soft(128, 128)).resize((256, 256))
    picture.save(top / "art.jpg", quality=60, subsampling="4:2:0")
    grown = report_of(cloak(top)["art.jpg"])
    assert grown["output"]["quality"] > 60
    assert grown["bytes"]["after"] > 1.5 * grown["bytes"]["before"]
    assert "raised from 60 to" in grown["bytes"]["reason"]
    assert "--max-size 1.5x" in grown["bytes"]["reason"]
    small = report_of(cloak(top, SaveOptions(max_size=SizeLimit.parse("1.5x")))["art.jpg"])
    assert small["bytes"]["after"] <= 1.5 * small["bytes"]["before"]
    assert "the size was kept, not the cloak" in small["bytes"]["reason"]
    assert small["encoded"]["survived"] is False


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_lossless_file_fits_with_a_part_of_the_cloak(top: Path, mode: str) -> None:
    picture = Image.new("RGB", (256, 192), (250, 240, 200))
    ImageDraw.Draw(picture).ellipse([30, 30, 120, 170], fill=(20, 30, 90))
    picture = picture.resize((255, 191)) if mode == "RGB" else picture.convert(mode)
    picture.save(top / "art.png")
    whole = report_of(cloak(top)["art.png"])
    assert "--max-size" in whole["bytes"]["reason"]
    small = report_of(cloak(top, SaveOptions(max_size=SizeLimit.parse("3x")))["art.png"])
    assert small["bytes"]["after"] <= 3 * small["bytes"]["before"] < whole["bytes"]["after"]
    assert 0 < small["shift"]["512"] < whole["shift"]["512"]
    assert "the calmer places have no cloak" in small["bytes"]["reason"]


def test_a_size_that_no_cloak_fits_into_is_refused(top: Path) -> None:
    Image.fromarray(soft()).save(top / "art.png")
    Image.fromarray(soft()).save(top / "art.jpg", quality=90)
    for outcome in cloak(top, SaveOptions(max_size=SizeLimit.parse("300B"))).values():
        assert outcome.report is None
        assert "expected at most 300 bytes" in (outcome.error or "")
    assert not list((top.parent / "out").iterdir())


@pytest.mark.parametrize(
    ("text", "size"),
    [("900kB", 900_000), ("2MB", 2_000_000), ("1.5x", 1500), ("700", 700), (" .5 x", 500)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert SizeLimit.parse(text).of(1000) == size


@pytest.mark.parametrize("text", ["", "big", "-1kB", "0", "0x", "1.5y", "1x2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ArtworkError):
        SizeLimit.parse(text)


# What is left behind, and what is mentioned


def gps() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 0.0, 0.0)
    exif[0x013B] = "Zoe"
    return exif.tobytes()


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    b'xmlns:exif="http://ns.adobe.com/exif/1.0/" photoshop:City="Delft" photoshop:Credit="Zoe" '
    b'exif:GPSLatitude="52,0N"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_position_is_mentioned_and_left_out_on_request(top: Path, suffix: str) -> None:
    written: dict[str, Any] = {"exif": gps()} | ({} if suffix in ("png", "tif") else {"xmp": XMP})
    Image.fromarray(soft()).save(top / f"art.{suffix}", **written)
    out = top.parent / f"out/art.{suffix}"
    (remark,) = report_of(cloak(top)[out.name])["remarks"]
    assert "--strip-location" in remark
    with Image.open(out) as saved:
        assert saved.getexif().get_ifd(0x8825)
    assert report_of(cloak(top, SaveOptions(strip_location=True))[out.name])["remarks"] == []
    with Image.open(out) as saved:
        assert not saved.getexif().get_ifd(0x8825)
        assert saved.getexif()[0x013B] == "Zoe"
        packet = saved.info.get("xmp", b"Credit")
    assert b"Delft" not in packet
    assert b"52,0N" not in packet
    assert b"Credit" in packet


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", exif=with_thumbnail(), **options)
    return buffer.getvalue()


def with_thumbnail() -> bytes:
    """EXIF with a thumbnail in it, which is no further picture."""
    exif = Image.Exif()
    exif[0x013B] = "Zoe"
    return exif.tobytes() + b"\xff\xd8\xff\xe0 a thumbnail \xff\xd9"


def test_one_picture_with_a_thumbnail_is_one(top: Path) -> None:
    (top / "one.jpg").write_bytes(jpeg(Image.fromarray(soft()), progressive=True))
    assert report_of(cloak(top)["one.jpg"])["remarks"] == []


def test_a_second_picture_is_mentioned(top: Path) -> None:
    first, second = Image.fromarray(soft()), Image.fromarray(soft(seed=4))
    first.save(top / "two.jpg", "MPO", save_all=True, append_images=[second])
    packet = XMP.replace(b"photoshop/1.0/", b"hdr-gain-map/1.0/")
    first.save(top / "bright.jpg", xmp=packet.replace(b'exif:GPSLatitude="52,0N"', b""))
    (top / "more.jpg").write_bytes(jpeg(first, progressive=True) + b"trailer" + jpeg(second))
    for name, outcome in cloak(top).items():
        assert "further picture" in report_of(outcome)["remarks"][0], name
        with Image.open(top.parent / "out" / name) as saved:
            assert getattr(saved, "n_frames", 1) == 1
            assert b"hdr-gain-map" not in saved.info.get("xmp", b"")


# Other files


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp_is_read_and_becomes_png(top: Path, mode: str) -> None:
    picture = Image.fromarray(soft()).convert(mode)
    picture.save(top / "art.bmp", dpi=(300, 300))
    report = report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.info["dpi"] == pytest.approx((300, 300), rel=1e-2)
        found = np.asarray(saved.convert("RGB")).astype(int)
    assert 0 < np.abs(found - np.asarray(picture.convert("RGB"))).max() <= 6
    assert report["output"]["format"] == "png"


@pytest.mark.parametrize("transparent", [True, False])
def test_a_still_gif_becomes_an_indexed_png(top: Path, transparent: bool) -> None:
    cartoon().save(top / "art.gif", **({"transparency": 3} if transparent else {}))
    report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "P"
        assert ("transparency" in saved.info) is transparent


def test_names_of_formats_that_are_only_read(top: Path) -> None:
    for name in ("same.bmp", "same.png", "alone.bmp", "two.bmp", "two.gif", "Case.GIF", "case.png"):
        (top / name).touch()
    jobs, refused = plan_outputs(find_artworks([top]), top.parent / "out", "same")
    assert not refused
    assert {job.source.name: job.name for job in jobs} == {
        "same.bmp": "same.bmp.png",
        "same.png": "same.png",
        "alone.bmp": "alone.png",
        "two.bmp": "two.bmp.png",
        "two.gif": "two.gif.png",
        "Case.GIF": "Case.GIF.png",
        "case.png": "case.png",
    }
    jobs, refused = plan_outputs(find_artworks([top]), top.parent / "out", "jpeg")
    assert {job.name for job in jobs} >= {"same.jpg", "same.bmp.jpg", "alone.jpg"}
    assert not refused


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "ü" * 120 + ".png", "x." + "y" * 241])
def test_long_names_are_saved_and_their_reports_shortened(top: Path, name: str) -> None:
    Image.fromarray(soft()).save(top / name, "PNG")
    out = top.parent / "out"
    reports_folder(out).mkdir()
    manifest = Manifest(reports_folder(out))
    for _ in range(2):
        jobs, refused = plan_outputs([(top / name, Path(name))], out, "same", manifest)
        assert not refused
        (outcome,) = cloak_portfolio(jobs, small_engine(), manifest, resume=True)
        assert outcome.error is None
    assert outcome.report is None  # resumed: it was found again under its shortened name
    assert [path.name for path in out.iterdir()] == [name]
    reports = [path.name for path in reports_folder(out).iterdir()]
    assert len([one for one in reports if one.startswith(name[:60])]) == 3
    assert all(len(os.fsencode(one)) <= 255 for one in reports)
    (text,) = (path for path in reports_folder(out).iterdir() if path.name.endswith(".glaze.json"))
    assert json.loads(text.read_text("utf-8"))["output"]["file"] == name


def test_what_is_passed_over_is_counted_and_named(top: Path) -> None:
    picture = Image.fromarray(soft())
    picture.save(top / "art.png")
    picture.save(top / "scan", "PNG")
    picture.save(top / "old.jpe", "JPEG")
    (top / "deep").mkdir()
    (top / "deep/layers.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    (top / "deep/other.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    (top / "a.clip").write_bytes(b"CSFCHUNK" + bytes(40))
    (top / "notes.txt").write_text("a list")
    (top / ".hidden.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    (top / "link.png").symlink_to(top / "art.png")
    (top / "elsewhere").symlink_to(top / "deep")
    said = [others.sentence for others in passed_over([top, top / "art.png"])]
    assert sorted(said) == [
        "Passed over: 1 Clip Studio Paint file (a.clip): export a PNG from your painting program.",
        "Passed over: 2 Photoshop files (deep/layers.psd, deep/other.psd): export a PNG from your "
        "painting program.",
        "Passed over: 2 pictures without a usual ending (old.jpe, scan): let the name end in .png, "
        ".jpg or the like.",
        "Passed over: 2 symbolic links (elsewhere, link.png): name what it leads to.",
    ]


def zipped(first: str, content: bytes) -> bytes:
    """The beginning of a zip archive with one stored file."""
    head = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, len(content), len(content),
                                   len(first), 0)  # fmt: skip
    return head + first.encode() + content


OTHERS: dict[str, tuple[bytes, str]] = {
    "a.kra": (zipped("mimetype", b"application/x-krita"), "a Krita file: export a PNG"),
    "a.ora": (zipped("mimetype", b"image/openraster"), "an OpenRaster file: export a PNG"),
    "a.procreate": (zipped("Document.archive", b"x"), "a Procreate file: share a PNG"),
    "b.procreate": (zipped("abc/chunk.lz4", b"x"), "a Procreate file: share a PNG"),
    "a.clip": (b"CSFCHUNK" + bytes(90), "a Clip Studio Paint file: export a PNG"),
    "a.xcf": (b"gimp xcf v011\0" + bytes(90), "a GIMP file: export a PNG"),
    "a.exr": (b"\x76\x2f\x31\x01" + bytes(90), "a floating point picture: save with 16 bits"),
    "a.svg": (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "an SVG drawing: export a PNG"),
    "a.tga": (bytes(90), "a Targa file: convert to PNG"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_told_what_to_do(top: Path, name: str) -> None:
    data, words = OTHERS[name]
    (top / name).write_bytes(data)
    jobs, _ = plan_outputs([(top / name, Path(name))], top.parent / "out", "same")
    reports_folder(top.parent / "out").mkdir()
    manifest = Manifest(reports_folder(top.parent / "out"))
    (outcome,) = cloak_portfolio(jobs, small_engine(), manifest)
    assert f"but it is {words}" in (outcome.error or "")


# PNG: texts, and colours in numbers


def test_texts_about_the_work_are_kept_and_prompts_are_not(top: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Zoë")
    texts.add_text("Title", "Boats", zip=True)
    texts.add_itxt("Copyright", "© Zoë 船")
    texts.add_text("Description", "Steps: 20, Sampler: Euler")
    texts.add_text("Comment", "not for others")
    texts.add_text("workflow", "{}")
    Image.fromarray(soft()).save(top / "art.png", pnginfo=texts)
    Image.fromarray(soft()).save(top / "art.bmp")
    report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        found = saved.text  # type: ignore[attr-defined]
        assert found == {"Author": "Zoë", "Title": "Boats", "Copyright": "© Zoë 船"}
    report_of(cloak(top, SaveOptions("webp"))["art.webp"])
    with Image.open(top.parent / "out/art.webp") as saved:
        fields = saved.getexif()
    assert b"Zo\xc3\xab" in fields.tobytes()
    assert fields[0x010D] == "Boats"


def with_chunks(picture: Image.Image, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks before its pixels."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    data = buffer.getvalue()
    extra = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return data[:33] + extra + data[33:]


P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
LINEAR = struct.pack(">I", 100_000)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ({b"gAMA": LINEAR}, lambda x: 255 * (1.055 * (x / 255) ** (1 / 2.4) - 0.055)),
        ({b"gAMA": struct.pack(">I", 45455)}, lambda x: x),
        ({b"cICP": bytes([1, 8, 0, 1])}, lambda x: 255 * (1.055 * (x / 255) ** (1 / 2.4) - 0.055)),
        ({b"cICP": bytes([1, 13, 0, 1])}, lambda x: x),
    ],
    ids=["gAMA", "gAMA as in sRGB", "cICP linear", "cICP sRGB"],
)
def test_colours_in_numbers_are_seen_and_stay(
    top: Path, chunks: dict[bytes, bytes], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    values = soft().clip(40, 255)
    (top / "art.png").write_bytes(with_chunks(Image.fromarray(values), *chunks.items()))
    report_of(cloak(top)["art.png"])
    saved = (top.parent / "out/art.png").read_bytes()
    assert all(name + body in saved for name, body in chunks.items())
    assert b"iCCP" not in saved
    found, before = (
        expected(np.asarray(Image.open(top.parent / at / "art.png")).astype(float))
        for at in ("out", "in")
    )
    assert 0 < np.abs(found - before).max() <= 6 + 1.5  # in sRGB, as a browser shows it


def test_colours_in_numbers_become_a_profile_elsewhere(top: Path) -> None:
    picture = Image.new("RGB", (64, 48), (40, 230, 60))
    picture.paste((200, 90, 30), (8, 8, 40, 30))
    (top / "art.png").write_bytes(with_chunks(picture, (b"gAMA", LINEAR), (b"cHRM", P3)))
    report_of(cloak(top, SaveOptions("tiff"))["art.tif"])
    with Image.open(top.parent / "out/art.tif") as saved:
        profile = saved.info["icc_profile"]
    from PIL import ImageCms

    # littlecms, which did not write it, sees linear light in Display P3
    space = ImageCms.ImageCmsProfile(BytesIO(profile))
    srgb = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (128, 128, 128)), space, ImageCms.createProfile("sRGB")
    )
    assert srgb.getpixel((0, 0)) == pytest.approx((188, 188, 188), abs=2)
    red = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (100, 20, 20)), space, ImageCms.createProfile("sRGB")
    )
    assert red.getpixel((0, 0)) == pytest.approx((178, 68, 73), abs=3)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((9, 16, 0, 1), "HDR (PQ)"), ((9, 18, 0, 1), "HDR (HLG)"), ((77, 1, 0, 1), "cICP 77, 1")],
)
def test_what_cannot_be_shown_as_srgb_is_refused_by_name(
    top: Path, numbers: tuple[int, ...], words: str
) -> None:
    (top / "art.png").write_bytes(with_chunks(Image.fromarray(soft()), (b"cICP", bytes(numbers))))
    (outcome,) = cloak(top).values()
    assert words in (outcome.error or "")


def avif(primaries: int, transfer: int) -> bytes:
    """An AVIF file that gives its colour space in numbers."""
    buffer = BytesIO()
    Image.fromarray(soft()).save(buffer, "AVIF", quality=90)
    data = bytearray(buffer.getvalue())
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def test_numbers_in_avif_become_a_profile_or_are_refused(top: Path) -> None:
    (top / "p3.avif").write_bytes(avif(12, 13))
    (top / "hdr.avif").write_bytes(avif(9, 16))
    (top / "video.avif").write_bytes(avif(1, 1))
    found = cloak(top, SaveOptions(keep_shift=0))
    assert "HDR (PQ)" in (found["hdr.avif"].error or "")
    for name, has in (("p3.avif", True), ("video.avif", False)):
        report_of(found[name])
        with Image.open(top.parent / "out" / name) as saved:
            assert ("icc_profile" in saved.info) is has


def test_grey_in_linear_light_is_seen_as_such(top: Path) -> None:
    picture = Image.fromarray(soft()).convert("L")
    (top / "art.png").write_bytes(with_chunks(picture, (b"gAMA", LINEAR)))
    report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "L"
        found = np.asarray(saved).astype(float)
    light = np.asarray(picture) / 255
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(found - 255 * srgb).max() <= 6 + 1
    assert b"gAMA" not in (top.parent / "out/art.png").read_bytes()
