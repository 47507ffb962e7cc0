"""The world on real art, on tiny networks and drawn pictures."""

from __future__ import annotations

import hashlib
import random
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from comfy_glaze.cloaking.effect import UPLOAD_QUALITY, Calibration
from training.real_art.autoencoder import (
    Autoencoder,
    decoder_network,
    encoder_network,
    load_autoencoder,
)
from training.real_art.calibrate import calibrated
from training.real_art.cloaks import Kind, kind_called, pattern
from training.real_art.collect import differing, middle_square, without_tint
from training.real_art.counter_moves import changed_latents, changed_pictures
from training.real_art.gather import picture_of
from training.real_art.generator import (
    MIMICKED,
    NOBODY,
    Generator,
    Prompt,
    Shape,
    draw,
    load_generator,
    loss_of,
    save_generator,
)
from training.real_art.jod import lost
from training.real_art.judges import as_grey
from training.real_art.loaders import LOADERS, uploaded
from training.real_art.mimic import Tuning, fine_tuned, latents_of, nearest
from training.real_art.objectives import FEATURES, Networks, encoder_of
from training.real_art.pictures import Piece, vocabulary, words_of
from training.real_art.predictor import correlations, redrawn
from training.real_art.screen import Cell, kind_of
from training.real_art.split import held_out, layouts, mimic_works
from training.real_art.tables import cost_table, effect_table, fall, share
from training.real_art.train_generator import learned_pieces
from training.real_art.world import LEFT_OUT, hand

SHAPE = Shape((8, 16), 1, (NOBODY, MIMICKED, "potter"), ("fox", "rabbit"), 4, 8, 4)


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    """Random weights, small enough that nothing explodes."""
    torch.manual_seed(0)
    halves = [encoder_network(), decoder_network()]
    for half in halves:
        half.eval().requires_grad_(False)
    return Autoencoder(*halves)


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_the_autoencoder_is_read_from_one_file(tmp_path: Path, autoencoder: Autoencoder) -> None:
    weights = {
        f"{name}.{key}": tensor.contiguous()
        for name, half in (("encoder", autoencoder.encoder), ("decoder", autoencoder.decoder))
        for key, tensor in half.state_dict().items()
    }
    save_file(weights, tmp_path / "pair.safetensors")
    read = load_autoencoder(tmp_path / "pair.safetensors")
    picture = torch.rand(1, 3, 32, 48)
    latents = read.encode(picture)
    assert latents.shape == (1, 32, 4, 6)
    assert torch.equal(latents, autoencoder.encode(picture))
    assert read.decode(latents).shape == picture.shape
    del weights["encoder.0.weight"]
    save_file(weights, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="Expected taef2's encoder in half"):
        load_autoencoder(tmp_path / "half.safetensors")


def test_paper_tint_goes_and_ink_becomes_black() -> None:
    drawing = np.full((20, 20, 3), (230, 210, 160), np.uint8)
    drawing[5:15, 8:12] = (60, 50, 40)
    plain = without_tint(drawing, one_ink=False)
    assert plain[0, 0].min() == 255
    assert plain[10, 10].max() < 30
    one_ink = without_tint(drawing, one_ink=True)
    assert np.ptp(one_ink.astype(int), axis=2).max() == 0


def test_the_middle_square_lies_inside() -> None:
    assert middle_square(Image.new("RGB", (30, 20))) == (5, 0, 20)


def test_squares_that_differ_are_named() -> None:
    first = [{"file": "a", "square_sha256": "1"}, {"file": "b", "square_sha256": "2"}]
    second = [{"file": "a", "square_sha256": "1"}, {"file": "c", "square_sha256": "2"}]
    assert differing(first, first) == []
    assert differing(first, second) == ["b", "c"]


def test_a_hand_is_an_artist_in_one_medium() -> None:
    assert hand("neill", "line/monochrome") == "neill"
    assert hand("neill", "colour") == "neill, colour"
    assert hand("rackham", "line/monochrome") in LEFT_OUT["rackham"]


def test_titles_give_words() -> None:
    assert words_of("The Baby's Opera: Foxes and the King’s rabbits") == ["foxe", "king", "rabbit"]
    pieces = [Piece(Path("x"), "potter", "A rabbit")] * 5 + [Piece(Path("x"), "potter", "A fox")]
    assert vocabulary(pieces) == ["rabbit"]


def _shelf(artist: str, count: int) -> list[Piece]:
    return [Piece(Path(artist) / f"{i:03d}.png", artist, f"work {i}") for i in range(count)]


def test_a_generator_learns_nothing_by_those_whom_its_mimics_copy(tmp_path: Path) -> None:
    rows = [("neill", "colour"), ("neill", "line/monochrome"), ("rackham", "line/monochrome")]
    lines = [f"{artist}/{i}.png,{artist},{medium},x" for i, (artist, medium) in enumerate(rows)]
    text = "\n".join(["file,artist,medium,title", *lines])
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    assert [piece.hand for piece in learned_pieces(tmp_path, ["neill"])] == ["rackham, line"]
    assert {piece.hand for piece in learned_pieces(tmp_path, ["rackham"])} == {
        "neill",
        "neill, colour",
    }


def test_mimics_and_judges_share_no_works() -> None:
    pieces = _shelf("crane", 37) + _shelf("potter", 30)
    first, second = (mimic_works(pieces, "crane", fold) for fold in (0, 1))
    assert len(first) == len(second) == 18
    assert not set(first) & set(second)
    assert set(held_out(pieces, "crane", 0)) == set(pieces[:37]) - set(first)
    assert {piece.hand for piece in layouts(pieces, ["potter"], 5)} == {"potter"}
    with pytest.raises(ValueError, match="at least two works by dore"):
        mimic_works(pieces, "dore", 0)
    with pytest.raises(ValueError, match="fold of 0 or 1"):
        mimic_works(pieces, "crane", 2)


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_keep_a_flat_colour_and_the_size(name: str) -> None:
    flat = torch.full((1, 3, 64, 64), 0.3)
    loaded = LOADERS[name](flat, 32, random.Random(0))
    assert loaded.shape == (1, 3, 32, 32)
    assert torch.allclose(loaded, torch.full_like(loaded, 0.3), atol=1e-6)


def test_an_upload_is_a_real_jpeg(pictures: Tensor) -> None:
    picture = pictures[:1]
    fine, coarse = uploaded(picture, 95, chroma_halved=False), uploaded(picture, 30)
    assert fine.shape == picture.shape
    assert 0 < (fine - picture).abs().mean() < (coarse - picture).abs().mean()


@pytest.mark.parametrize("name", FEATURES)
def test_every_objective_has_a_gradient(
    name: str, autoencoder: Autoencoder, pictures: Tensor
) -> None:
    torch.manual_seed(0)
    generator = Generator(replace(SHAPE, latents=32, side=16)).eval()
    encoder = encoder_of(Networks(autoencoder, generator), name)
    large = pictures.repeat(1, 1, 2, 2).requires_grad_()
    encoder(large).square().sum().backward()
    assert large.grad is not None
    assert large.grad.abs().sum() > 0
    assert len(encoder(large)) == 2


def test_errors_need_a_generator(autoencoder: Autoencoder, pictures: Tensor) -> None:
    with pytest.raises(ValueError, match="need a generator"):
        FEATURES["error"](Networks(autoencoder), pictures)


def test_objectives_and_kinds_are_named() -> None:
    with pytest.raises(ValueError, match="Expected features among latents"):
        encoder_of(None, "strokes")  # type: ignore[arg-type]
    assert kind_of("none") is None
    kind = kind_of("decoded/even 8")
    assert kind is not None
    assert (kind.features, kind.budget) == ("decoded", "even 8")
    assert kind.slug == "towards-decoded-even-8"
    with pytest.raises(ValueError, match="but got decoded/huge"):
        kind_of("decoded/huge")
    assert Cell("crane") == replace(Cell("crane", seed=3), seed=0)


def test_a_generator_draws_the_same_from_the_same_seed() -> None:
    torch.manual_seed(0)
    generator = Generator(SHAPE).eval()
    prompts = [Prompt("potter", ("fox", "unknown")), Prompt(MIMICKED)]
    both = draw(generator, prompts, [1, 2], steps=3)
    assert both.shape == (2, 4, 8, 8)
    alone = draw(generator, prompts[1:], [2], steps=3)
    assert torch.allclose(both[1:], alone, atol=1e-4)
    layout = torch.randn(2, 4, 8, 8)
    near = draw(generator, prompts, [1, 2], steps=10, layouts=layout, strength=0.1)
    far = draw(generator, prompts, [1, 2], steps=10, layouts=layout, strength=0.9)
    assert (near - layout).square().mean() < (far - layout).square().mean()


def test_a_generator_is_kept_in_half_precision(tmp_path: Path) -> None:
    generator = Generator(SHAPE).eval()
    generator.mean.fill_(0.5)
    save_generator(generator, tmp_path / "g.safetensors", {"step": 7})
    read, record = load_generator(tmp_path / "g.safetensors")
    assert record == {"step": 7}
    assert read.shape == SHAPE
    for name, tensor in generator.state_dict().items():
        assert torch.allclose(read.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="Expected a real-art generator"):
        load_generator(tmp_path / "other.safetensors")


@pytest.mark.parametrize("rank", [0, 4])
def test_a_mimic_learns_and_the_generator_stays(autoencoder: Autoencoder, rank: int) -> None:
    torch.manual_seed(0)
    generator = Generator(replace(SHAPE, latents=32, side=16)).eval()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    squares = [torch.rand(1, 3, 256, 256) for _ in range(2)]
    latents = latents_of(squares, autoencoder, "area", 0)
    assert latents.shape == (4, 32, 16, 16)
    titles = ["a fox"] * 4
    same = [torch.Generator().manual_seed(5) for _ in range(2)]
    prompts = [Prompt(MIMICKED, ("fox",))] * 4
    first = loss_of(generator, latents, prompts, same[0])
    mimic, _ = fine_tuned(generator, latents, titles, Tuning(25, 4, 2e-3, rank=rank))
    second = loss_of(mimic, latents, prompts, same[1])
    assert second < first
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, before[name])
    kept = torch.equal(mimic.words.weight, generator.words.weight)
    assert kept == (rank > 0)


class _Judge:
    """Takes a JOD for each grey level between two pictures."""

    def predict(
        self, shown: np.ndarray, original: np.ndarray, dim_order: str
    ) -> tuple[float, None]:
        assert dim_order == "HWC"
        assert shown.dtype == np.uint8
        return 10 - float(np.abs(shown.astype(float) - original).mean()), None


def test_jod_are_lost_by_the_cloaked_picture() -> None:
    original = torch.zeros(1, 3, 4, 4)
    assert lost(_Judge(), original, original) == 0
    assert lost(_Judge(), original, original + 3 / 255) == pytest.approx(3)


def test_the_nearest_work_may_be_a_reflection(pictures: Tensor) -> None:
    large = torch.nn.functional.interpolate(pictures, size=(128, 128))
    works = [large[:1], large[1:]]
    assert nearest(large[:1].flip(-1), works).max() < 1e-5
    assert nearest(torch.rand(1, 3, 128, 128), works).min() > 0.05


def test_the_grey_judge_sees_no_palette(pictures: Tensor) -> None:
    light = 0.3 + 0.2 * pictures.mean(dim=1, keepdim=True).expand_as(pictures)
    darker = light * 0.5
    assert torch.allclose(as_grey(light), as_grey(darker), atol=1e-4)


def test_a_round_trip_is_what_the_decoder_shows(autoencoder: Autoencoder) -> None:
    latents = torch.randn(3, 32, 2, 2)
    again = changed_latents("round trip", latents, latents, Networks(autoencoder))
    assert again.shape == latents.shape
    with torch.no_grad():
        shown = autoencoder.decode(latents)
    expected = autoencoder.encode(shown)
    assert (again - expected).square().mean() < 0.05 * expected.square().mean()


def test_counter_moves_use_one_clean_work(autoencoder: Autoencoder, pictures: Tensor) -> None:
    clean, moved = pictures[:1] * 0.5, pictures[1:] * 0.5 + 0.5
    (matched,) = changed_pictures("colours matched", [moved], clean)
    assert abs(float(matched.mean() - clean.mean())) < 0.01
    (untouched,) = changed_pictures("round trip", [moved], clean)
    assert torch.equal(untouched, moved)
    (pressed,) = changed_pictures("jpeg-420:85", [moved], clean)
    assert 0 < (pressed - moved).abs().mean() < 0.2
    usual, shifted = torch.randn(2, 32, 4, 4), torch.randn(3, 32, 4, 4) * 3 + 5
    again = changed_latents("latents renormalised", shifted, usual, Networks(autoencoder))
    assert torch.allclose(again.mean((0, 2, 3)), usual.mean((0, 2, 3)), atol=1e-4)
    assert torch.equal(changed_latents("none", shifted, usual, Networks(autoencoder)), shifted)


def test_purification_noises_in_part_and_draws_again(autoencoder: Autoencoder) -> None:
    torch.manual_seed(0)
    generator = Generator(replace(SHAPE, latents=32, side=8)).eval()
    latents = torch.randn(2, 32, 8, 8)
    again = changed_latents("purified", latents, latents, Networks(autoencoder, generator))
    assert again.shape == latents.shape
    assert 0.01 < (again - latents).square().mean() < 1.5  # changed, and not drawn from noise alone
    with pytest.raises(ValueError, match="needs a generator"):
        changed_latents("purified", latents, latents, Networks(autoencoder))


def _line(kind: str, names: list[str], odds: list[float]) -> dict[str, object]:
    answers = {sight: {"names": names, "log_odds": odds} for sight in ("colour", "grey")}
    way = {**answers, "nearest": 1.0, "kernel": 0.5}
    cloaks = None if kind == "none" else {"rms": 30.0, "shift": 0.5}
    cell = asdict(Cell("crane", kind))
    return {"cell": cell, "prompts": way, "layouts": way, "cloaks": cloaks, "moved": 0.2}


def test_tables_pair_each_cloak_with_no_cloak() -> None:
    lines = [
        _line("none", ["crane", "crane", "crane", "potter"], [2.0, 2.0, 2.0, -1.0]),
        _line("latents/even 8", ["crane", "potter", "potter", "potter"], [1.0, 0.0, 0.0, -1.0]),
    ]
    assert share(lines[:1], "prompts", "grey").value == 0.75
    lost = fall(lines[1:], lines, "prompts", "colour")
    assert lost is not None
    assert lost["points"].value == 50
    assert lost["log_odds"].value == pytest.approx(1.25)
    assert fall(lines[1:], lines[1:], "prompts", "colour") is None
    assert "| latents/even 8 | 1 | 25%" in effect_table(lines, "layouts")
    assert "| latents/even 8 | 1 | 30.00 |" in cost_table(lines)


def test_a_gathered_source_must_have_the_manifests_hash(tmp_path: Path) -> None:
    place = tmp_path / "source"
    git = ["git", "-C", str(place), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "--quiet", str(place)], check=True)
    Image.new("RGB", (40, 30), (200, 100, 0)).save(place / "page.png")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "page"], check=True)
    row = {"source_commit": "HEAD", "source_path": "page.png", "crop": "5 5 25 15"}
    row["source_sha256"] = hashlib.sha256((place / "page.png").read_bytes()).hexdigest()
    assert picture_of(place, row).size == (20, 10)
    with pytest.raises(ValueError, match=r"Expected page.png with the SHA-256 0000"):
        picture_of(place, row | {"source_sha256": "0000"})


def test_a_kind_may_have_a_lead() -> None:
    assert kind_called("away loaded latents/strong") == Kind("loaded latents", "strong", "away")
    assert kind_called("pattern sent latents/even 8").lead == "pattern"
    assert kind_called("latents/default") == Kind("latents", "default")
    with pytest.raises(ValueError, match="but got back latents/default"):
        kind_called("back latents/default")


def test_a_mimics_rate_rises_and_falls() -> None:
    tuning = Tuning(steps=100, rate=1.0, warm_up=10)
    rates = [tuning.rate_at(step) for step in range(1, 101)]
    assert rates[0] < 0.11
    assert max(rates) == rates[9]
    assert rates[-1] == pytest.approx(0.1)


def test_the_pattern_has_hard_edges_of_many_sizes() -> None:
    shown = pattern(64)
    assert set(shown.unique().tolist()) == {0.0, 1.0}
    assert 0.2 < float(shown.mean()) < 0.8


def test_correlations_come_with_those_of_every_round() -> None:
    falls = np.arange(12.0)
    rounds = list(redrawn([np.arange(12) % 2, np.arange(12) // 3], falls))
    assert len(rounds) > 100
    assert np.allclose(correlations(falls**3, falls, rounds), 1)
    noise = correlations(np.random.default_rng(1).normal(size=12), falls, rounds)
    assert np.nanmin(noise) < noise[0] < np.nanmax(noise)


def line_of(artist: str, kind: str, covered: float, found: int, tried: int = 200) -> dict[str, Any]:
    """A screening's line with what a calibration reads of it."""
    names = [artist] * found + ["somebody else"] * (tried - found)
    return {
        "cell": asdict(Cell(artist, kind, upload=UPLOAD_QUALITY)),
        "covered": covered,
        "prompts": {"colour": {"names": names, "share": found / tried}},
    }


def test_a_calibration_finds_how_fast_artists_fall() -> None:
    slopes, lines = {"crane": 1.0, "denslow": 4.0}, []
    for artist, slope in slopes.items():
        for covered in (0.0, 0.3, 0.6, 1.0):
            share = 1 / (1 + np.exp(slope * covered - 2.5))
            kind = f"beyond latents/even {covered}" if covered else "none"
            lines.append(line_of(artist, kind, covered, round(200 * share)))
    unknown = [line_of("hoffmann", "none", 0, 90), line_of("hoffmann", "latents/even 8", 1, 20)]
    uncloaked = [line_of("rackham", "none", 0, 190)]
    found = calibrated([*lines, *unknown, *uncloaked], "abc")
    assert set(found["artists"]) == set(slopes)
    for artist, slope in slopes.items():
        assert found["artists"][artist][1] == pytest.approx(slope, abs=0.6)
    assert found["slope"] == pytest.approx(2.5, abs=0.4)
    known = Calibration(**found)
    assert known.start == pytest.approx(2.5, abs=0.4)
    assert known.largest == 1.0
