"""The statement "no AI training", read by the programs that others read files with."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.files.formats import FORMATS
from comfy_glaze.files.options import SaveOptions

from ..conftest import smooth_picture

PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"


def saved(folder: Path, format: str, asked: bool) -> Path:
    picture = smooth_picture(48, 64)
    path = folder / f"art.{format}"
    save_artwork(picture, Artwork(picture), path, SaveOptions(format, no_ai_training=asked))
    return path


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
@pytest.mark.parametrize("format", FORMATS)
def test_exiftool_reads_the_statement(tmp_path: Path, format: str) -> None:
    for asked in (True, False):
        words = ["exiftool", "-j", "-G1", "-XMP:all", saved(tmp_path, format, asked)]
        (found,) = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        assert found.get("XMP-plus:DataMining") == (PROHIBITED if asked else None)
        assert found.get("XMP-tdm:Reservation") == (1 if asked else None)


@pytest.mark.skipif(shutil.which("exiv2") is None, reason="needs exiv2")
@pytest.mark.parametrize("format", FORMATS)
def test_exiv2_reads_the_statement(tmp_path: Path, format: str) -> None:
    for asked in (True, False):
        words = ["exiv2", "-q", "-PXkv", "pr", saved(tmp_path, format, asked)]
        said = subprocess.run(words, capture_output=True, text=True).stdout
        found = dict(line.split() for line in said.splitlines())
        told = {"Xmp.plus.DataMining": PROHIBITED, "Xmp.tdm.reservation": "1"}
        assert found == (told if asked else {})
