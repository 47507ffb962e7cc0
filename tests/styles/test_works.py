"""An artist's works are chosen, read and shrunk as the pictures of a style bank are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.images import shrink
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.styles.bank import CENTROID_SIZE, StyleBank, builtin_styles, centroid_of
from comfy_glaze.styles.bank_build import build_style_bank
from comfy_glaze.styles.bank_sources import from_folder
from comfy_glaze.styles.works import WORKS_FOR_CENTROID, evenly, rank_works, read_pictures

TOLERANCE = 1e-2  # a bank keeps its centroids in float16, here of numbers up to 8


def drawing(number: int) -> Tensor:
    """Black lines on white paper: nothing overshoots more when it is scaled by Lanczos."""
    generator = torch.Generator().manual_seed(number)
    picture = torch.ones(1, 3, 300, 320 + number % 3)
    for row in torch.randint(300, (40,), generator=generator).tolist():
        picture[..., row, :] = 0
    return picture


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """More works than count for a centroid."""
    paths = []
    for number in range(WORKS_FOR_CENTROID + 13):
        paths.append(tmp_path / f"{number:03}.png")
        save_artwork(drawing(number), Artwork(drawing(number)), paths[-1])
    return paths


def squares(encoder: Encoder) -> Encoder:
    """Features that overshoot cannot leave as they are on average."""
    return Encoder("squares", "0" * 16, lambda x: encoder.features(x.square()), 8, encoder.device)


def test_an_artists_centroid_is_that_of_a_style_of_the_same_files(
    files: list[Path], block_encoder: Encoder
) -> None:
    encoder, style = squares(block_encoder), builtin_styles()[0]
    bank = build_style_bank([style], from_folder({style: files}, WORKS_FOR_CENTROID), encoder)
    (ranked,) = rank_works(bank, files, encoder)
    assert ranked.distance == pytest.approx(0, abs=TOLERANCE)
    chosen = evenly(files, WORKS_FOR_CENTROID)
    full_size = [drawing(int(path.stem)) for path in chosen]  # as a graph gives them
    assert centroid_of(full_size, encoder) == pytest.approx(bank.centroids[0], abs=TOLERANCE)
    overshooting = torch.stack(
        [encoder(shrink(picture, CENTROID_SIZE)).mean(dim=(0, 2, 3)) for picture in full_size]
    ).mean(dim=0)
    assert (overshooting - bank.centroids[0, :3]).abs().min() > 3 * TOLERANCE


def test_pictures_are_read_into_their_range_and_broken_ones_passed_over(files: list[Path]) -> None:
    files[1].write_bytes(b"no picture")
    pictures = read_pictures(files[:3])
    assert len(pictures) == 2
    for picture in pictures:
        assert picture.shape[-2] == CENTROID_SIZE
        assert 0 <= picture.min() <= picture.max() <= 1
    with pytest.raises(ArtworkError, match=files[1].name):
        read_pictures(files[1:2])


@pytest.mark.parametrize("count", [0, 1, 7, 50, 51, 99, 100, 1000])
def test_works_are_taken_evenly_whatever_their_number(count: int) -> None:
    taken = evenly(range(count), WORKS_FOR_CENTROID)
    assert len(taken) == min(count, WORKS_FOR_CENTROID)
    steps = {after - before for before, after in pairwise(taken)}
    assert max(steps, default=0) - min(steps, default=0) <= 1
    assert taken == sorted(set(taken))


def test_an_artist_without_works_has_no_ranking(block_encoder: Encoder) -> None:
    style = builtin_styles()[0]
    bank = StyleBank((style,), torch.zeros(1, 6), "blocks", block_encoder.fingerprint)
    with pytest.raises(ValueError, match="at least one picture"):
        rank_works(bank, [], block_encoder)
