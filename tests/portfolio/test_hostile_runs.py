"""Runs over folders made to do harm: each file one sentence, nothing outside, the rest goes on."""

from __future__ import annotations

import os
import signal
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from comfy_glaze.cli import app
from comfy_glaze.files.artwork import load_artwork, save_artwork
from comfy_glaze.files.exif import clean, page_kinds, read_fields, write_block
from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.files.xmp import clean_iptc, clean_xmp, iptc_of_resources, with_training_statement
from comfy_glaze.portfolio.engine import CloakRequest, Engine

from ..conftest import names_of_any_bytes
from ..files.test_hostile_files import REFUSED, RGB, RGBA, chunk, encoded, png
from ..files.test_leaks import IPTC, RESOURCES, XMP, exif_block, ifd
from .runs import small_engine, tree_of

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGPROF"), reason="needs a timer that counts the processor's time"
)

PIXELS = bytes(121 * 40)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail what would never end: so much of the processor's time and no more."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"still at work after {seconds} s")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def looping_tiff() -> bytes:
    """A TIFF file whose directory follows itself."""
    data = bytearray(encoded(RGB, "TIFF"))
    at = int.from_bytes(data[4:8], "little")
    end = at + 2 + 12 * int.from_bytes(data[at : at + 2], "little")
    data[end : end + 4] = data[4:8]
    return bytes(data)


def many_pages() -> bytes:
    data = bytearray(encoded(RGB, "TIFF"))
    at = int.from_bytes(data[4:8], "little")
    end = at + 2 + 12 * int.from_bytes(data[at : at + 2], "little")
    for _ in range(700):
        data[end : end + 4] = struct.pack("<I", len(data))
        end = len(data) + 14
        data += ifd([(0x00FE, 4, b"\1\0\0\0")], len(data))
    return bytes(data)


def exif_of(*entries: tuple[int, int, bytes]) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + ifd(list(entries), 8)


def packed_text(name: bytes, text: bytes) -> bytes:
    return chunk(b"zTXt", name + b"\0\0" + zlib.compress(text))


DEEP_XMP = b"<a>" * 3000 + b"</a>" * 3000
LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><x>&b;</x>'

ODD = {  # worked on, though something about them is odd or enormous
    "loop.tif": looping_tiff(),
    "pages.tif": many_pages(),
    "profile.jpg": encoded(RGB, "JPEG", icc_profile=b"\0\0\0\0none" + bytes(8) + b"RGB " * 900_000),
    "profile.webp": encoded(RGB, "WEBP", icc_profile=bytes(2**24)),
    "xmp.webp": encoded(RGB, "WEBP", xmp=b"<x>" + b"y" * 2**24 + b"</x>"),
    "deep.jpg": encoded(RGB, "JPEG", xmp=DEEP_XMP),
    "laughs.jpg": encoded(RGB, "JPEG", xmp=LAUGHS),
    "exif.webp": encoded(RGB, "WEBP", exif=exif_of((0x010E, 2, b"d" * 2**22 + b"\0"))),
    "pointer.jpg": encoded(RGB, "JPEG", exif=exif_of((0x8769, 4, b"\x08\0\0\0"))),
    "far.jpg": encoded(RGB, "JPEG", exif=exif_of((0x8769, 4, b"\xff\xff\xff\xff"))),
    "resolution.png": png(40, 40, 8, 2, PIXELS, chunk(b"pHYs", b"\xff" * 8 + b"\1")),
    "zero.jpg": encoded(RGB, "JPEG", exif=exif_of((0x011A, 5, b""), (0x011B, 5, b""))),
    "text.png": png(
        40,
        40,
        8,
        2,
        PIXELS,
        chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(b"x\n" * 9)),
    ),
}
BAD = {
    "text bomb.png": png(
        40, 40, 8, 2, PIXELS, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2**27)))
    ),
    "pixel bomb.png": png(9000, 9000, 8, 2, bytes(2**20)),
    "strips.tif": b"II*\0\x08\0\0\0"
    + ifd(
        [
            (256, 4, struct.pack("<I", 60)),
            (257, 4, struct.pack("<I", 60)),
            (258, 3, struct.pack("<HHH", 8, 8, 8)),
            (259, 3, b"\x08\0"),
            (262, 3, b"\2\0"),
            (273, 4, struct.pack("<I", 2**31)),
            (277, 3, b"\3\0"),
            (279, 4, struct.pack("<I", 2**31)),
        ],
        8,
    ),
    "deep.tif": b"II*\0\x08\0\0\0"
    + ifd(
        [
            (256, 4, struct.pack("<I", 2**31)),
            (257, 4, struct.pack("<I", 2**31)),
            (258, 3, struct.pack("<HHH", 16, 16, 16)),
            (262, 3, b"\2\0"),
            (273, 4, struct.pack("<I", 8)),
            (277, 3, b"\3\0"),
            (279, 4, struct.pack("<I", 8)),
        ],
        8,
    ),
    "deep.png": png(40000, 40000, 16, 2, b""),
    "cut deep.png": png(64, 64, 16, 2, bytes(385 * 10)),
    "box.avif": encoded(RGB, "AVIF")[:60] + b"\xff" * 400,
    "box.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\xff\xff\xff\xffmeta" + bytes(300),
}


@pytest.fixture
def cloak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``comfy-glaze cloak in --out out``, with an encoder that takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def small(request: CloakRequest, *_: object) -> Engine:
        return replace(small_engine(steps=1), saving=request.saving)

    monkeypatch.setattr("comfy_glaze.portfolio.engine.open_engine", small)

    def run(*words: object) -> Result:
        command = ["cloak", "in", "--out", "out", *map(str, words)]
        return CliRunner().invoke(app, command)

    return run


def check(result: Result, failed: set[str]) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    assert result.exit_code == (1 if failed else 0), result.output
    lines = [line for line in result.output.splitlines() if line.startswith("Failed: ")]
    counted = f"Failed: {len(failed)}. "  # everything else is saved, or nothing was
    assert len([line for line in lines if not line.startswith(counted)]) == len(failed)
    for name in failed:
        (line,) = [line for line in lines if f"/{name}" in line]
        assert line.rstrip().endswith(".")


@names_of_any_bytes
def test_a_hostile_folder_costs_only_its_hostile_files(cloak: Any, tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    Image.fromarray(RGB).save(outside / "secret.png")
    bad = dict(BAD)
    for number, (data, _) in enumerate(REFUSED.values()):
        bad[f"refused {number}.png"] = data
    for name, data in (ODD | bad).items():
        (folder / name).write_bytes(data)
    names = [
        "..png",
        "...png",
        "a%2f..%2fb.png",
        "-rf.png",
        "$(touch x).png",
        "con.png",
        "a\\b.png",
    ]
    names += ["[bold]x[bold].png", "{0}.png", "'; drop.png", "x" * 200 + ".png"]
    for name in names:
        (folder / name).write_bytes(encoded(RGB, "PNG"))
    (folder / os.fsdecode(b"caf\xe9 \x1b[31m.png")).write_bytes(encoded(RGB, "PNG"))
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "linked").symlink_to(outside)
    (folder / "empty").mkdir()
    before = tree_of(tmp_path)
    with at_most(10 * len(before)):
        result = cloak()
    check(result, set(bad))
    after = tree_of(tmp_path)
    assert {name: sha for name, sha in after.items() if name in before} == before
    new = set(after) - set(before)
    assert all(name.startswith(("out/", "out-reports/")) for name in new)
    assert not any(".comfy-glaze-" in name for name in new)
    visible = [name for name in names if not name.startswith(".")]
    assert {f"out/{name}" for name in (*ODD, *visible)} <= new
    assert len([name for name in new if name.startswith("out/")]) == len(ODD) + len(visible) + 1


def test_an_empty_folder_is_one_sentence(cloak: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    result = cloak()
    assert result.exit_code == 1
    assert "in: expected pictures in it, but there are none." in result.output


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_shards_that_are_none_are_bad_usage(cloak: Any, tmp_path: Path, shard: str) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(RGB).save(tmp_path / "in/a.png")
    result = cloak("--shard", shard)
    assert result.exit_code == 2
    assert f"Expected a shard such as 3/8, the third of eight, but got {shard}." in result.output


def test_an_output_folder_that_is_a_link_into_the_input_is_refused(
    cloak: Any, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(RGB).save(tmp_path / "in/a.png")
    (tmp_path / "out").symlink_to(tmp_path / "in")
    result = cloak()
    assert result.exit_code == 2
    assert "must lie outside the folder of the originals" in result.output


def test_an_encoder_that_gives_no_numbers_is_named(
    cloak: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(RGB).save(tmp_path / "in" / name)
    calls = [0]

    def latents(images: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return images * (torch.nan if calls[0] > 3 else 1)

    def broken(*_: object, **__: object) -> Any:
        engine = small_engine(steps=1)
        return replace(engine, encoder=replace(engine.encoder, features=latents))

    monkeypatch.setattr("comfy_glaze.portfolio.engine.open_engine", broken)
    result = cloak()
    check(result, {"a.png", "b.png"})
    assert list((tmp_path / "out").iterdir()) == []


# Fuzzing: a bounded number of tries in every run of the tests, more with FUZZ_EXAMPLES=2000
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))


def seeds() -> dict[str, bytes]:
    exif = exif_block()
    wide = np.arange(64 * 48 * 3, dtype=np.uint16).reshape(48, 64, 3) * 7
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    found = {
        "png": encoded(RGBA, "PNG", exif=exif, dpi=(300, 300)),
        "deep png": png(64, 48, 16, 2, rows, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        "jpeg": encoded(RGB, "JPEG", exif=exif, xmp=XMP),
        "webp": encoded(RGBA, "WEBP", exif=exif, xmp=XMP),
        "tiff": encoded(RGB, "TIFF", compression="tiff_lzw"),
        "avif": encoded(RGBA, "AVIF", exif=exif),
    }
    buffer = BytesIO()
    Image.fromarray(RGB).save(buffer, "TIFF", compression="tiff_adobe_deflate")
    found["packed tiff"] = buffer.getvalue()
    return found


SEEDS = seeds()
damage = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from([b"\0", b"\xff", b"\x7f\xff\xff\xff", b"", b"IDAT"])
    ),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, changes: list[tuple[float, bytes]], head: bool, cut: float) -> bytes:
    """Some bytes set to others, mostly among the first, and perhaps the end missing."""
    spoilt = bytearray(data)
    for where, value in changes:
        at = int(where * (min(len(data), 400) if head else len(data) - 1))
        spoilt[at : at + len(value)] = value
    return bytes(spoilt[: max(1, int(len(spoilt) * cut))])


@pytest.mark.parametrize("kind", SEEDS)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(changes=damage, head=st.booleans(), cut=st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.3]))
def test_a_damaged_file_is_a_picture_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    changes: list[tuple[float, bytes]],
    head: bool,
    cut: float,
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "art").write_bytes(damaged(SEEDS[kind], changes, head, cut))
    with at_most(10):
        try:
            artwork = load_artwork(folder / "art")
        except ArtworkError as error:
            sentence = str(error)
            assert sentence.endswith(".")
            assert sentence.isprintable()
            return
        assert 0 <= artwork.pixels.min() <= artwork.pixels.max() <= 1
        save_artwork(artwork.pixels, artwork, folder / "saved.png", SaveOptions(format="png"))
        again = load_artwork(folder / "saved.png")
    assert torch.equal(again.pixels, artwork.pixels)


@settings(
    max_examples=4 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(changes=damage, cut=st.floats(0.1, 1), data=st.binary(max_size=200))
def test_damaged_metadata_never_raises(
    changes: list[tuple[float, bytes]], cut: float, data: bytes
) -> None:
    with at_most(10):
        for block in (data, b"II*\0\x08\0\0\0" + data, damaged(exif_block(), changes, True, cut)):
            fields = read_fields(block)
            whole = write_block(clean(fields, 640, 480))
            assert read_fields(whole).keys() <= {0, 0x8769, 0x8825}
            if len(block) > 8:
                assert len(list(page_kinds(block.removeprefix(b"Exif\0\0")))) <= 500
        packet = clean_xmp(damaged(XMP, changes, False, cut), 640, 480)
        assert b"DMI-PROHIBITED-AIMLTRAINING" in with_training_statement(packet)
        clean_iptc(damaged(IPTC, changes, True, cut))
        iptc_of_resources(damaged(RESOURCES, changes, True, cut))
