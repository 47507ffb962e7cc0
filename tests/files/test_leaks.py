"""Nothing of the original, or of how the cloak was made, is in a published file."""

from __future__ import annotations

import base64
import json
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.files.formats import FORMATS
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import reports_folder
from comfy_glaze.portfolio.run import cloak_portfolio

from ..portfolio.runs import jobs_of, small_engine
from .test_hostile_files import chunk

RNG = np.random.default_rng(11)
ART = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
SEED = 918273645
PROMPT = "masterpiece, a harbour in the manner of nobody"
WORKFLOW = json.dumps({"last_node_id": 9, "nodes": [{"class_type": "KSampler", "text": PROMPT}]})


def jpeg(values: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "JPEG")
    return buffer.getvalue()


THUMBNAIL = jpeg(RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8))
MAKER_NOTE = b"MakerNote\0" + RNG.bytes(400)
LAYERS = b"Adobe Photoshop Document Data Block\0" + RNG.bytes(400)
CREDENTIALS = b"jumbc2pa.thumbnail" + RNG.bytes(300)
SECRETS = {
    "thumbnail": THUMBNAIL[-120:-80],
    "thumbnail's end": THUMBNAIL[-60:-20],
    "thumbnail in base64": base64.b64encode(THUMBNAIL)[300:340],
    "maker's note": MAKER_NOTE[100:140],
    "layers": LAYERS[100:140],
    "credentials": CREDENTIALS[100:140],
    "prompt": PROMPT.encode()[15:],
    "prompt in UTF-16": PROMPT.encode("utf-16-le")[30:],
    "workflow": b"last_node_id",
    "earlier version": b"the-earlier-version",
    "seed": str(SEED).encode(),
}


def entry(tag: int, kind: int, value: bytes) -> tuple[int, int, bytes]:
    return tag, kind, value


def ifd(entries: list[tuple[int, int, bytes]], start: int, following: int = 0) -> bytes:
    """A little-endian block of fields that begins at byte ``start``."""
    table, values = struct.pack("<H", len(entries)), b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, kind, value in sorted(entries):
        count = len(value) // {2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 1: 1}[kind]
        where = struct.pack("<I", after + len(values)) if len(value) > 4 else value.ljust(4, b"\0")
        values += value if len(value) > 4 else b""
        table += struct.pack("<HHI", tag, kind, count) + where
    return table + struct.pack("<I", following) + values


def exif_block() -> bytes:
    """Everything that may betray: a thumbnail, a maker's note, prompts in three fields."""
    photo = [
        entry(0x927C, 7, MAKER_NOTE),
        entry(0x9286, 7, b"UNICODE\0" + f"{PROMPT}\nSteps: 20, Seed: {SEED}".encode("utf-16-le")),
    ]
    first = [
        entry(0x010F, 2, b"workflow:" + WORKFLOW.encode() + b"\0"),
        entry(0x0110, 2, b"prompt: {" + PROMPT.encode() + b"}\0"),
        entry(0x013B, 2, b"Zoe of Delft\0"),
        entry(0x9C9C, 1, f"Negative prompt: {PROMPT}".encode("utf-16-le")),
        entry(0x935C, 7, LAYERS),
        entry(0xC68C, 7, LAYERS),
        entry(0x8769, 4, struct.pack("<I", 3000)),
    ]
    third = ifd([entry(0x0201, 4, b"\0" * 4), entry(0x0202, 4, b"\0" * 4)], 5000)
    third = ifd(
        [
            entry(0x0201, 4, struct.pack("<I", 5000 + len(third))),
            entry(0x0202, 4, struct.pack("<I", len(THUMBNAIL))),
        ],
        5000,
    )
    block = b"II*\0\x08\0\0\0" + ifd(first, 8, 5000)
    block = block.ljust(3000, b"\0") + ifd(photo, 3000)
    return b"Exif\0\0" + block.ljust(5000, b"\0") + third + THUMBNAIL


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Delft" '
    'xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/" xmlns:own="urn:own">'
    "<xmpMM:History><rdf:Seq><rdf:li>the-earlier-version.psd</rdf:li></rdf:Seq></xmpMM:History>"
    "<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType='Resource'><xmpGImg:image>"
    f"{base64.b64encode(THUMBNAIL).decode()}</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>"
    f"<own:preview>{base64.b64encode(THUMBNAIL * 20).decode()}</own:preview>"
    f"<own:made>Negative prompt: {PROMPT}</own:made>"
    f"<!-- {base64.b64encode(THUMBNAIL).decode()} -->"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
).encode()


def irb(number: int, data: bytes) -> bytes:
    head = b"8BIM" + struct.pack(">H", number) + b"\0\0" + struct.pack(">I", len(data))
    return head + data + b"\0" * (len(data) % 2)


IPTC = b"\x1c\x02\x50\0\x03Zoe" + b"\x1c\x02\xca" + struct.pack(">H", len(THUMBNAIL)) + THUMBNAIL
RESOURCES = irb(0x040C, THUMBNAIL) + irb(0x0404, IPTC) + irb(0x0409, THUMBNAIL)


def source_of(format: str) -> bytes:
    """A picture in which everything is hidden that its format has a place for."""
    buffer = BytesIO()
    exif, image = exif_block(), Image.fromarray(ART)
    if format == "png":
        texts = PngInfo()
        texts.add_text("parameters", f"{PROMPT}\nSteps: 20, Seed: {SEED}")
        texts.add_text("workflow", WORKFLOW, zip=True)
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(buffer, "PNG", pnginfo=texts, exif=exif)
        data = buffer.getvalue()
        hidden = chunk(b"caBX", CREDENTIALS) + chunk(b"prVt", LAYERS)
        return data[:33] + hidden + data[33:] + THUMBNAIL
    if format == "jpeg":
        segment = b"Photoshop 3.0\0" + RESOURCES
        extra = b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment
        extra += b"\xff\xeb" + struct.pack(">H", len(CREDENTIALS) + 2) + CREDENTIALS
        image.save(buffer, "JPEG", exif=exif, xmp=XMP, extra=extra, comment=WORKFLOW, quality=95)
        return buffer.getvalue() + THUMBNAIL
    if format == "tiff":
        image.save(buffer, "TIFF", compression="raw")
        data = bytearray(buffer.getvalue())
        data += b"\0" * (len(data) % 2)
        from comfy_glaze.files.exif import read_fields

        entries = [(f.tag, f.kind, f.value) for f in read_fields(bytes(data))[0]]
        entries = [(tag, kind, value) for tag, kind, value in entries if kind in (2, 3, 4)]
        entries += [(0x02BC, 1, XMP), (0x8649, 1, RESOURCES), (0x935C, 7, LAYERS)]
        entries += [(0x013B, 2, b"Zoe of Delft\0"), (0x010E, 2, WORKFLOW.encode() + b"\0")]
        entries += [(0x014A, 4, struct.pack("<I", 8))]
        small = [(0x00FE, 4, b"\1\0\0\0"), (0x0100, 3, b"\x18\0"), (0x0101, 3, b"\x18\0")]
        data[4:8] = struct.pack("<I", len(data))
        first = ifd(entries, len(data))
        second = len(data) + len(first) + len(first) % 2
        page = ifd([*small, (0x0111, 4, struct.pack("<I", second + 200))], second)
        data += ifd(entries, len(data), second)
        data += b"\0" * (second - len(data)) + page
        return bytes(data.ljust(second + 200, b"\0") + THUMBNAIL + exif)
    image.save(buffer, format.upper(), exif=exif, xmp=XMP, quality=95)
    data = buffer.getvalue()
    if format == "webp":
        extra = b"ABCD" + struct.pack("<I", len(LAYERS)) + LAYERS
        return data[:4] + struct.pack("<I", len(data) - 8 + len(extra)) + data[8:] + extra
    return data + struct.pack(">I", 8 + len(LAYERS)) + b"free" + LAYERS


def all_that_is_in(path: Path) -> bytes:
    """A file's bytes, and whatever of it can be unpacked."""
    data = path.read_bytes()
    unpacked = b""
    for at in range(len(data) - 2):
        if data[at] == 0x78 and data[at + 1] in (0x01, 0x5E, 0x9C, 0xDA):
            try:
                unpacked += zlib.decompressobj().decompress(data[at:])
            except zlib.error:
                continue
    return data + unpacked


@pytest.mark.parametrize("source", FORMATS)
def test_no_file_holds_what_its_source_hid(tmp_path: Path, source: str) -> None:
    data = source_of(source)
    found = {name for name, secret in SECRETS.items() if secret in data}
    assert "thumbnail" in found  # the trap is set
    (tmp_path / "in").mkdir()
    for format in FORMATS:
        (tmp_path / "in" / f"{format}.{source}").write_bytes(data)
    artwork = load_artwork(tmp_path / "in" / f"png.{source}")
    assert artwork.pixels.shape == (1, 3, 64, 64)
    assert artwork.exif is not None
    assert b"Zoe of Delft" in artwork.exif
    for format in FORMATS:
        out = tmp_path / f"out-{format}"
        reports_folder(out).mkdir(parents=True)
        engine = small_engine()
        settings = replace(engine.settings, seed=SEED)
        target = replace(engine.target, seed=SEED)
        engine = replace(engine, saving=SaveOptions(format), settings=settings, target=target)
        manifest = Manifest(reports_folder(out))
        jobs = [job for job in jobs_of(tmp_path / "in", out) if job.source.stem == format]
        if format != "same":
            jobs = [replace(job, target=out / f"art.{format}") for job in jobs]
        (outcome,) = cloak_portfolio(jobs, engine, manifest)
        assert outcome.report is not None, outcome.error
        secrets = SECRETS | {"style": engine.target.style.name.encode(), "name": b"glaze"}
        inside = all_that_is_in(out / f"art.{format}")
        for name, secret in secrets.items():
            assert secret not in inside, (name, source, format)
        assert b"Zoe of Delft" in inside
        if shutil.which("exiftool"):
            words = ["exiftool", "-a", "-u", "-ee", "-j", "-b", str(out / f"art.{format}")]
            parsed = subprocess.run(words, capture_output=True, check=True).stdout
            for name, secret in secrets.items():
                told = parsed.replace(str(out).encode(), b"")
                assert secret not in told, (name, source, format)
            assert b"Thumbnail" not in parsed
            assert b"Preview" not in parsed


@pytest.mark.parametrize(("format", "quality"), [("png", 95), ("tiff", 95), ("webp", 100)])
def test_transparent_and_masked_pixels_stay_bit_for_bit(
    tmp_path: Path, format: str, quality: int
) -> None:
    values = np.dstack([ART, np.full((64, 64), 255, np.uint8)])
    values[:16, :, 3] = 0
    (tmp_path / "in").mkdir()
    Image.fromarray(values).save(tmp_path / "in/art.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 20, 64))
    mask.save(tmp_path / "mask.png")
    out = tmp_path / "out"
    engine = replace(small_engine(), saving=SaveOptions(format, quality))
    manifest = Manifest(reports_folder(out))
    jobs = jobs_of(tmp_path / "in", out)
    (outcome,) = cloak_portfolio(jobs, engine, manifest, mask=tmp_path / "mask.png")
    assert outcome.report is not None, outcome.error
    with Image.open(out / "art.png") as saved:
        after = np.array(saved)
    assert np.array_equal(after[:16], values[:16])
    assert np.array_equal(after[:, :20], values[:, :20])
    assert np.array_equal(after[..., 3], values[..., 3])
    assert not np.array_equal(after[16:, 20:, :3], values[16:, 20:, :3])


def test_sixteen_bit_pixels_under_a_mask_stay_bit_for_bit(tmp_path: Path) -> None:
    vips = pytest.importorskip("pyvips", reason="needs pyvips (extra io)")
    values = RNG.integers(0, 65536, (64, 64, 4), dtype=np.uint16)
    values[:16, :, 3] = 0
    (tmp_path / "in").mkdir()
    vips.Image.new_from_array(values, interpretation="rgb16").pngsave(str(tmp_path / "in/art.png"))
    out = tmp_path / "out"
    jobs = jobs_of(tmp_path / "in", out)
    (outcome,) = cloak_portfolio(jobs, small_engine(), Manifest(reports_folder(out)))
    assert outcome.report is not None, outcome.error
    assert outcome.report["output"]["bits"] == 16
    after = vips.Image.new_from_file(str(out / "art.png")).numpy().astype(np.int64)
    change = np.abs(after - values)
    assert change[:16].max() == 0
    assert 0 < change[16:].max() <= 6 * 257
    assert torch.equal(
        load_artwork(out / "art.png").pixels[..., :16, :],
        load_artwork(tmp_path / "in/art.png").pixels[..., :16, :],
    )
