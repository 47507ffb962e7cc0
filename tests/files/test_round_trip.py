"""What survives: every format × property, read back by exiftool and libvips, not by the writer."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.files.formats import FORMATS
from comfy_glaze.files.options import SaveOptions

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RGB = np.random.default_rng(5).integers(0, 256, (40, 48, 3), dtype=np.uint8)

WRITTEN = {  # by exiftool, into every source
    "IFD0:Artist": "Zoë",
    "IFD0:Copyright": "(c) Zoë 2026",
    "IFD0:ImageDescription": "Boats at dawn",
    "IFD0:Software": "Painter 7",
    "ExifIFD:DateTimeOriginal": "2026:01:02 03:04:05",
    "ExifIFD:LensModel": "Brush 50mm",
    "GPS:GPSLatitude": "52",
    "GPS:GPSLatitudeRef": "North",
    "XMP-dc:Rights": "All rights reserved",
    "XMP-dc:Creator": "Zoë",
    "XMP-photoshop:City": "Delft",
    "IPTC:By-line": "Zoe",
    "IPTC:Keywords": "boats",
}
IMPOSSIBLE = {("webp", "IPTC"), ("avif", "IPTC")}  # these formats have no place for IPTC-IIM


def exiftool(*words: object) -> str:
    command = ["exiftool", "-charset", "iptc=UTF8", "-charset", "exif=UTF8", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tags_of(folder: Path) -> dict[str, dict[str, Any]]:
    """All that exiftool finds in each file of a folder."""
    found = json.loads(exiftool("-j", "-G1", "-struct", folder))
    return {Path(entry["SourceFile"]).name: entry for entry in found}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """``source-format.suffix`` for every pair, and what exiftool finds in them."""
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool, an independent reader (Debian: libimage-exiftool-perl)")
    top = tmp_path_factory.mktemp("round-trip")
    (top / "in").mkdir()
    (top / "out").mkdir()
    words = [f"-{tag}={value}" for tag, value in WRITTEN.items()]
    for source in FORMATS:
        path = top / "in" / f"art.{source}"
        Image.fromarray(RGB).save(path, source.upper(), icc_profile=SRGB, dpi=(300, 300))
    exiftool(
        "-q", "-overwrite_original", *words, "-XResolution=300", "-YResolution=300", top / "in"
    )
    for source in FORMATS:
        artwork = load_artwork(top / "in" / f"art.{source}")
        for format in FORMATS:
            target = top / "out" / f"{source}-{format}.{format}"
            save_artwork(
                artwork.pixels, artwork, target, SaveOptions(format=format, no_ai_training=False)
            )
    return top, tags_of(top / "out")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_metadata_profile_and_resolution(
    saved: tuple[Path, dict[str, dict[str, Any]]], source: str, format: str
) -> None:
    found = saved[1][f"{source}-{format}.{format}"]
    assert "Warning" not in str(found)
    for tag, value in WRITTEN.items():
        group = tag.split(":")[0]
        if (format, group) in IMPOSSIBLE or (source, group) in IMPOSSIBLE:
            continue
        came = found.get(tag)
        if tag == "GPS:GPSLatitude":
            assert came == "52 deg 0' 0.00\""
        else:
            assert (came[0] if isinstance(came, list) else came) == value, tag
    assert found["ICC_Profile:ProfileDescription"] == "sRGB built-in"
    per_inch = found.get("JFIF:XResolution") or found.get("IFD0:XResolution")
    assert per_inch == pytest.approx(300, abs=0.01)
    assert "IFD1" not in str(found)


def vips() -> Any:
    return pytest.importorskip("pyvips", reason="needs pyvips, an independent reader (extra io)")


@pytest.mark.parametrize("format", FORMATS)
def test_libvips_finds_profile_resolution_and_metadata(tmp_path: Path, format: str) -> None:
    """What of the table libvips can tell, for where exiftool is not installed."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Boats at dawn"
    exif[ExifTags.Base.Artist] = "Zoe"
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        b'syntax-ns#"><rdf:Description xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
        b'photoshop:City="Delft"/></rdf:RDF></x:xmpmeta>'
    )
    held = {"exif": exif.tobytes(), "xmp": packet, "icc_profile": SRGB, "dpi": (300, 300)}
    Image.fromarray(RGB).save(tmp_path / "art.jpg", "JPEG", **held)
    artwork = load_artwork(tmp_path / "art.jpg")
    save_artwork(artwork.pixels, artwork, tmp_path / "saved", SaveOptions(format=format))
    read = vips().Image.new_from_file(str(tmp_path / "saved"))
    assert read.get("icc-profile-data") == SRGB
    assert b"Delft" in read.get("xmp-data")
    if format == "tiff":
        assert read.get("image-description") == "Boats at dawn"
    else:
        assert read.get("exif-ifd0-ImageDescription").startswith("Boats at dawn (")
        assert read.get("exif-ifd0-Artist").startswith("Zoe (")
    if format in ("webp", "avif"):  # they hold it in EXIF alone
        assert read.get("exif-ifd0-XResolution").startswith("300/1 (")
    else:
        assert read.xres * 25.4 == pytest.approx(300, abs=0.02)  # in pixels per millimetre


@pytest.mark.parametrize(("format", "quality"), [("png", 95), ("tiff", 95), ("webp", 100)])
def test_pixels_and_alpha_are_exact_for_another_reader(
    tmp_path: Path, format: str, quality: int
) -> None:
    levels = np.random.default_rng(6).integers(0, 256, (40, 48, 4), dtype=np.uint8)
    levels[:9, :, 3] = 0
    Image.fromarray(levels).save(tmp_path / "art.png")
    artwork = load_artwork(tmp_path / "art.png")
    save_artwork(
        artwork.pixels, artwork, tmp_path / "saved", SaveOptions(format=format, quality=quality)
    )
    read = vips().Image.new_from_file(str(tmp_path / "saved"))
    assert np.array_equal(read.numpy(), levels)
    assert ("icc-profile-data" in read.get_fields()) is False


@pytest.mark.parametrize("format", ["avif", "webp"])
def test_alpha_of_lossy_formats_stays_close(tmp_path: Path, format: str) -> None:
    levels = np.full((40, 48, 4), 99, np.uint8)
    levels[..., 3] = np.arange(0, 240, 5, dtype=np.uint8)[None]
    Image.fromarray(levels).save(tmp_path / "art.png")
    artwork = load_artwork(tmp_path / "art.png")
    save_artwork(
        artwork.pixels, artwork, tmp_path / "saved", SaveOptions(format=format, quality=95)
    )
    read = vips().Image.new_from_file(str(tmp_path / "saved")).numpy()
    assert np.abs(read[..., 3].astype(int) - levels[..., 3]).max() <= (0 if format == "webp" else 8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("source", ["png", "tiff"])
@pytest.mark.parametrize("format", ["png", "tiff"])
def test_sixteen_bits_are_exact(tmp_path: Path, source: str, format: str, channels: int) -> None:
    values = np.random.default_rng(7).integers(0, 65536, (40, 48, channels), dtype=np.uint16)
    image = vips().Image.new_from_array(
        values, interpretation="grey16" if channels == 1 else "rgb16"
    )
    save = image.pngsave if source == "png" else image.tiffsave
    save(str(tmp_path / "art"))
    artwork = load_artwork(tmp_path / "art")
    assert artwork.bits == 16
    rgb = values[..., :3] if channels > 1 else np.repeat(values, 3, axis=-1)
    expected = np.rint(rgb / 257).astype(np.uint8)
    assert np.array_equal((artwork.pixels[0] * 255).round().byte().permute(1, 2, 0), expected)

    cloaked = artwork.pixels.clone()
    step = torch.where(cloaked[..., 10:20, :] < 0.5, 3 / 255, -3 / 255)
    cloaked[..., 10:20, :] += step
    save_artwork(cloaked, artwork, tmp_path / "saved", SaveOptions(format=format))
    read = vips().Image.new_from_file(str(tmp_path / "saved")).numpy()
    assert read.dtype == np.uint16
    moved = rgb.astype(np.int64)
    moved[10:20] += 257 * (step[0] * 255).round().long().permute(1, 2, 0).numpy()
    if channels == 1:  # grey stays one channel
        read, moved = read.reshape(40, 48, 1), moved[..., :1]
    assert np.array_equal(read[..., :3], moved)  # 257 steps of 16 bits are one of 8, exactly
    if channels == 4:
        assert np.array_equal(read[..., 3], values[..., 3])
    assert torch.equal(load_artwork(tmp_path / "saved").pixels, (cloaked * 255).round() / 255)


def test_sixteen_bits_become_eight_where_the_format_holds_no_more(tmp_path: Path) -> None:
    values = np.random.default_rng(8).integers(0, 65536, (40, 48, 3), dtype=np.uint16)
    vips().Image.new_from_array(values, interpretation="rgb16").pngsave(str(tmp_path / "art.png"))
    artwork = load_artwork(tmp_path / "art.png")
    save_artwork(
        artwork.pixels, artwork, tmp_path / "saved.webp", SaveOptions(format="webp", quality=100)
    )
    again = load_artwork(tmp_path / "saved.webp")
    assert again.bits == 8
    assert torch.equal(again.pixels, artwork.pixels)


def test_avif_of_twelve_bits_keeps_them(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 96, dtype=np.uint16)
    values = np.repeat(np.tile(ramp, (40, 1))[..., None], 3, axis=-1)
    image = vips().Image.new_from_array(values, interpretation="rgb16")
    image.heifsave(str(tmp_path / "art.avif"), compression="av1", bitdepth=12, lossless=True)
    artwork = load_artwork(tmp_path / "art.avif")
    assert artwork.bits == 16
    save_artwork(artwork.pixels, artwork, tmp_path / "saved.avif", SaveOptions(quality=100))
    read = vips().Image.new_from_file(str(tmp_path / "saved.avif"))
    assert read.get("bits-per-sample") == 12
    assert np.abs(read.numpy().astype(int) - values).max() <= 257
    assert load_artwork(tmp_path / "saved.avif").bits == 16


@pytest.mark.parametrize("bits", [8, 10])
def test_heif_is_read_and_becomes_png(tmp_path: Path, bits: int) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif (extra io)")
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    values = np.repeat(np.tile(ramp, (48, 1))[..., None], 3, axis=-1)
    mode = "RGB;16" if bits == 10 else "RGB"
    data = values if bits == 10 else (values >> 8).astype(np.uint8)
    made = heif.from_bytes(mode, (64, 48), data.tobytes())
    made.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    made.save(tmp_path / "art.heic", quality=95)
    artwork = load_artwork(tmp_path / "art.heic")
    assert (artwork.format, artwork.bits) == ("heif", 16 if bits == 10 else 8)
    assert sorted(artwork.pixels.shape[2:]) == [48, 64]
    save_artwork(artwork.pixels, artwork, tmp_path / "saved")
    again = load_artwork(tmp_path / "saved")
    assert (again.format, again.bits) == ("png", artwork.bits)
    assert torch.equal(again.pixels, artwork.pixels)


@pytest.mark.parametrize("orientation", [1, 6, 8])
@pytest.mark.parametrize("format", FORMATS)
def test_orientation_is_reset_in_exif_and_xmp(
    tmp_path: Path, format: str, orientation: int
) -> None:
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool, an independent reader (Debian: libimage-exiftool-perl)")
    path = tmp_path / f"art.{format}"
    Image.fromarray(RGB).save(path, format.upper())
    words = ["-n", f"-XMP-tiff:Orientation={orientation}", "-ExifIFD:ExifImageWidth=48"]
    if format != "avif":  # there the picture's own rotation counts
        words.append(f"-IFD0:Orientation={orientation}")
    exiftool("-q", "-overwrite_original", *words, path)
    artwork = load_artwork(path)
    (tmp_path / "out").mkdir()
    save_artwork(
        artwork.pixels, artwork, tmp_path / "out" / f"saved.{format}", SaveOptions(format=format)
    )
    (found,) = tags_of(tmp_path / "out").values()
    for tag in ("IFD0:Orientation", "XMP-tiff:Orientation"):
        assert found.get(tag, "Horizontal (normal)") == "Horizontal (normal)"
    assert found["ExifIFD:ExifImageWidth"] == artwork.pixels.shape[3]


def test_the_statement_is_there_on_request_and_only_then(tmp_path: Path) -> None:
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool, an independent reader (Debian: libimage-exiftool-perl)")
    pixels = torch.from_numpy(RGB / np.float32(255)).permute(2, 0, 1)[None]
    artwork = Artwork(pixels)
    for format in FORMATS:
        for asked in (True, False):
            path = tmp_path / f"{asked}.{format}"
            save_artwork(pixels, artwork, path, SaveOptions(format=format, no_ai_training=asked))
    for name, found in tags_of(tmp_path).items():
        stated = found.get("XMP-plus:DataMining"), found.get("XMP-tdm:Reservation")
        asked = name.startswith("True")
        if asked:  # exiftool before 12.67 gives the vocabulary's own word
            assert stated[0].split("/")[-1] in ("DMI-PROHIBITED-AIMLTRAINING", "ML training")
            assert stated[1] == 1
        else:
            assert stated == (None, None)
