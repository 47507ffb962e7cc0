"""Files beyond the usual ones, their names, and what of them is left behind."""

from __future__ import annotations

import json
import os
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_glaze.files.finding import find_artworks
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.files.passed_over import passed_over
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import plan_outputs, reports_folder
from comfy_glaze.portfolio.run import cloak_portfolio

from .kinds import cartoon, cloak, report_of, soft
from .runs import small_engine


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
        "Passed over: 2 symbolic links (elsewhere, link.png): name the file or folder itself.",
    ]


def zipped(first: str, content: bytes) -> bytes:
    """The beginning of a zip archive with one stored file."""
    head = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, len(content), len(content),
                                   len(first), 0)  # fmt: skip
    return head + first.encode() + content


OTHERS: dict[str, tuple[bytes, str]] = {
    "a.DNG": (b"II*\0\x08" + bytes(60), "a camera raw file: develop to a TIFF or PNG"),
    "a.nef": (b"MM\0*" + bytes(60), "a camera raw file: develop to a TIFF or PNG"),
    "a.kra": (zipped("mimetype", b"application/x-krita"), "a Krita file: export a PNG"),
    "a.ora": (zipped("mimetype", b"image/openraster"), "an OpenRaster file: export a PNG"),
    "a.procreate": (zipped("Document.archive", b"x"), "a Procreate file: share a PNG"),
    "b.procreate": (zipped("abc/chunk.lz4", b"x"), "a Procreate file: share a PNG"),
    "a.clip": (b"CSFCHUNK" + bytes(90), "a Clip Studio Paint file: export a PNG"),
    "a.xcf": (b"gimp xcf v011\0" + bytes(90), "a GIMP file: export a PNG"),
    "a.exr": (b"\x76\x2f\x31\x01" + bytes(90), "a floating point picture: save with 16 bits"),
    "a.svg": (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "an SVG drawing: export a PNG"),
    "a.ppm": (b"P6\n2 2\n255\n" + bytes(12), "a Netpbm picture: convert to PNG"),
    "a.ico": (b"\0\0\1\0\1\0" + bytes(90), "an icon: convert to PNG"),
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
