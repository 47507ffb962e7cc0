from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from comfy_glaze.styles.bank import Style, StyleBank, StyleBankError
from comfy_glaze.styles.bank_file import load_style_bank, save_style_bank, thumbnail_of
from comfy_glaze.styles.candidates import wikiart_candidates
from comfy_glaze.styles.target import rank_styles, select_target_style

from ..conftest import posix_words, smooth_picture

STYLES = (
    Style("Flat", "Minimalism", None, "a flat picture", None),
    Style("Dämmerung", "Fauvism", "Nobody", "dusk", 3),
    Style("Plain", "Minimalism", None, "a plain picture", None),
)


def bank() -> StyleBank:
    pictures = [thumbnail_of(smooth_picture(64, 90, seed)) for seed in (1, 2)]
    return StyleBank(
        STYLES,
        torch.tensor([[0.5, 1.0], [2.0, -3.0], [0.25, 8.0]]),
        "blocks",
        "0" * 16,
        "mean",
        {"Flat": pictures[0], "Plain": pictures[1]},
    )


def test_bank_survives_its_file(tmp_path: Path) -> None:
    save_style_bank(bank(), tmp_path / "bank.safetensors")
    loaded = load_style_bank(tmp_path / "bank.safetensors")
    assert loaded.styles == STYLES
    assert torch.equal(loaded.centroids, bank().centroids)
    assert loaded.centroids.dtype == torch.float32
    assert (loaded.encoder_name, loaded.fingerprint) == ("blocks", "0" * 16)
    assert loaded.statistic == "mean"
    assert [loaded.thumbnail(style.name) for style in STYLES] == [
        bank().thumbnail("Flat"),
        None,
        bank().thumbnail("Plain"),
    ]
    assert loaded.thumbnail("absent") is None
    assert [row["thumbnail"] for row in loaded.listing()] == [True, False, True]
    assert loaded.listing()[1] == {
        "name": "Dämmerung",
        "genre": "Fauvism",
        "artist": "Nobody",
        "thumbnail": False,
    }


def test_thumbnail_is_the_middle_square(tmp_path: Path) -> None:
    picture = torch.zeros(1, 3, 40, 120)
    picture[..., 40:80] = torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1)
    with Image.open(io.BytesIO(thumbnail_of(picture))) as shown:
        assert (shown.format, shown.size) == ("WEBP", (96, 96))
        middle = np.asarray(shown.convert("RGB"), dtype=int)
    assert np.abs(middle - [255, 128, 0]).max() < 12


def test_restricted_bank_keeps_its_thumbnails(tmp_path: Path) -> None:
    save_style_bank(bank(), tmp_path / "bank.safetensors")
    some = load_style_bank(tmp_path / "bank.safetensors").restricted_to(
        lambda style: style.name == "Plain"
    )
    assert some.thumbnail("Plain") == bank().thumbnail("Plain")
    assert some.statistic == "mean"
    assert [row["name"] for row in some.listing()] == ["Plain"]


SAVED = """
import sys
from pathlib import Path
import torch
from comfy_glaze.styles.bank_file import save_style_bank, thumbnail_of
from comfy_glaze.styles.bank import Style, StyleBank

styles = tuple(Style(f"Style {n}", "Realism", None, "p", None) for n in range(9))
pictures = {style.name: thumbnail_of(torch.full((1, 3, 64, 64), 0.3)) for style in styles[2:5]}
bank = StyleBank(styles, torch.arange(18.0).view(9, 2), "e", "0" * 16, thumbnails=pictures)
save_style_bank(bank, Path(sys.argv[1]))
"""


def test_same_bank_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    written = []
    for number in range(3):
        path = tmp_path / f"{number}.safetensors"
        subprocess.run([sys.executable, "-c", SAVED, str(path)], check=True)
        written.append(path.read_bytes())
    assert len(set(written)) == 1


def test_file_can_be_replaced_while_its_bank_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    save_style_bank(bank(), path)
    loaded = load_style_bank(path)
    save_style_bank(bank().restricted_to(lambda style: style.name == "Plain"), path)
    assert loaded.thumbnail("Flat") is None
    path.unlink()
    assert loaded.thumbnail("Plain") is None


def full_bank() -> StyleBank:
    candidates = wikiart_candidates()
    generator = torch.Generator().manual_seed(0)
    picture = thumbnail_of(smooth_picture(96, 96))
    noisy = picture + bytes(max(0, 3000 - len(picture)))  # as heavy as real ones
    return StyleBank(
        tuple(candidate.style for candidate in candidates),
        torch.randn(len(candidates), 32, generator=generator),
        "blocks",
        "0" * 16,
        thumbnails={candidate.style.name: noisy for candidate in candidates},
    )


def test_full_bank_is_small_and_its_thumbnails_stay_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "full.safetensors"
    save_style_bank(full_bank(), path)
    assert path.stat().st_size < 40e6
    loaded = load_style_bank(path)
    chosen = select_target_style(rank_styles(loaded, torch.zeros(32)))
    assert 50 <= (chosen.percentile or 0) <= 75
    assert len(loaded.thumbnails) == 1119
    with path.open("r+b") as file:  # damage them on disk: nothing was kept in memory
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        start, end = header["thumbnails"]["data_offsets"]
        file.seek(8 + size + start)
        file.write(bytes(end - start))
    assert loaded.thumbnail(loaded.styles[3].name) is None


def write(path: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: Any) -> None:
    """A good bank's file, with changes to its metadata or other tensors."""
    rows = [
        {"name": s.name, "genre": s.genre, "artist": s.artist, "prompt": s.prompt, "embedded": None}
        for s in STYLES
    ]
    description: dict[str, Any] = {
        "format": "comfy_glaze style bank 2",
        "encoder": "blocks",
        "fingerprint": "0" * 16,
        "statistic": "mean",
        "styles": rows,
    }
    description |= changes
    good = {"centroids": torch.zeros(3, 2).half()}
    save_file({**good, **(tensors or {})}, path, {"style_bank": json.dumps(description)})


def row(**changes: Any) -> list[dict[str, Any]]:
    rows = [
        {"name": f"S{i}", "genre": "A", "artist": None, "prompt": "p", "embedded": None}
        for i in range(3)
    ]
    rows[1] |= changes
    return rows


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    write(path)
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def lying_offsets(header: dict[str, Any]) -> None:
    header["centroids"]["data_offsets"] = [0, 10**12]


def lying_shape(header: dict[str, Any]) -> None:
    header["centroids"]["shape"] = [3, 2**40]


def thumbs(*ends: int, size: int = 100) -> dict[str, torch.Tensor]:
    return {
        "thumbnails": torch.zeros(size, dtype=torch.uint8),
        "thumbnail_ends": torch.tensor(ends, dtype=torch.int64),
    }


F16_NAN = torch.tensor([[0, 1], [2, float("nan")], [0, 0]]).half()
F16_INF = torch.tensor([[0, 1], [2, float("inf")], [0, 0]]).half()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda p: None, "No such file", marks=posix_words),
        (lambda p: p.write_text("no bank"), "Expected a style bank, but bank.safetensors"),
        (lambda p: p.write_bytes(b"\xff" * 64), "Expected a style bank, but bank.safetensors"),
        (lambda p: p.mkdir(), "Expected a style bank, but bank.safetensors"),
        (lambda p: save_file({"a": torch.zeros(2)}, p), "but bank.safetensors is another file"),
        (lambda p: write(p, format="comfy_glaze style bank 9"), "is another one"),
        (lambda p: save_file({"a": torch.zeros(2)}, p, {"style_bank": "{"}), "Expected a style"),
        (lambda p: save_file({"a": torch.zeros(2)}, p, {"style_bank": "[" * 9999}), "Expected a"),
        (lambda p: save_file({"a": torch.zeros(2)}, p, {"style_bank": "[]"}), "is another one"),
        (lambda p: write(p, encoder=3), "a line of text for encoder"),
        (lambda p: write(p, fingerprint="a\nb"), "a line of text for fingerprint"),
        (lambda p: write(p, statistic="magic"), "among mean.std, mean, gram, places .* has magic"),
        (lambda p: write(p, styles="none"), "Expected a list of styles"),
        (lambda p: write(p, styles=[1, 2, 3]), "but got 1"),
        (lambda p: write(p, styles=row(name="")), "Expected styles with name, genre"),
        (lambda p: write(p, styles=row(name="A\x1b[2J")), "Expected styles with name, genre"),
        (lambda p: write(p, styles=row(prompt=["p"])), "Expected styles with name, genre"),
        (lambda p: write(p, styles=row(artist=7)), "Expected styles with name, genre"),
        (lambda p: write(p, styles=row(embedded=True)), "Expected styles with name, genre"),
        (lambda p: write(p, styles=row(extra=1)), "Expected styles with name, genre"),
        (lambda p: write(p, styles=row(name="s0")), "A style comes twice"),
        (lambda p: write(p, styles=row()[:2]), r"shape \(2, 'any'\) .* of shape \(3, 2\)"),
        (lambda p: write(p, {"centroids": torch.zeros(3, 2)}), "type F16 .* but they are F32"),
        (lambda p: write(p, {"centroids": torch.zeros(6).half()}), r"of shape \(6,\)"),
        (lambda p: write(p, {"centroids": F16_NAN}), "must be finite numbers"),
        (lambda p: write(p, {"centroids": F16_INF}), "must be finite numbers"),
        (lambda p: write(p, thumbs(10, 20)), "thumbnail_ends of type I64 and shape"),
        (lambda p: write(p, thumbs(10, 20, 99)), "their ends say otherwise"),
        (lambda p: write(p, thumbs(10, 200, 100)), "their ends say otherwise"),
        (lambda p: write(p, thumbs(-5, 20, 100)), "their ends say otherwise"),
        (lambda p: write(p, thumbs(0, 0, 70_000, size=70_000)), "at most 65,536 bytes each"),
        (lambda p: rewrite_header(p, lying_offsets), "Expected a style bank, but bank.safe"),
        (lambda p: rewrite_header(p, lying_shape), "Expected a style bank, but bank.safe"),
    ],
)
def test_what_is_no_bank_is_named_in_one_sentence(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "bank.safetensors"
    make(path)
    with pytest.raises(StyleBankError, match=words) as caught:
        load_style_bank(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(".")


def test_bank_of_the_tests_is_good(tmp_path: Path) -> None:
    """What the hostile files above are changes of."""
    write(tmp_path / "a.safetensors", thumbs(10, 10, 100), styles=row())
    assert len(load_style_bank(tmp_path / "a.safetensors").styles) == 3
    rewrite_header(tmp_path / "b.safetensors", lambda header: None)
    assert len(load_style_bank(tmp_path / "b.safetensors").styles) == 3


def test_truncated_bank_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    save_style_bank(bank(), path)
    data = path.read_bytes()
    for length in (0, 4, 8, 100, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(StyleBankError, match="Expected a style bank"):
            load_style_bank(path)
