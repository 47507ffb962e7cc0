"""Intervals, style features, classifiers and outliers against known answers."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from comfy_glaze.evaluation.outliers import detect, is_outlier
from comfy_glaze.evaluation.prompt_inversion import load_inverter
from comfy_glaze.judges.features import (
    grams,
    kernel_distance,
    load_features,
    noise_level,
    style_distances,
)
from comfy_glaze.judges.genres import (
    DIGITAL_GENRES,
    GENRES,
    WIKIART_GENRES,
    Classifier,
    genre_shift,
    has_shifted,
    load_clip,
    usual_genre,
)
from comfy_glaze.judges.intervals import mean_interval, share_interval
from comfy_glaze.judges.probe import fit_probe, load_probe, save_probe
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.networks.transformers_models import ModelError, load_text_matcher

from ..conftest import smooth_picture
from ..tiny_clip import write_clip

CPU = torch.device("cpu")


# --- intervals -----------------------------------------------------------------------------------


def test_interval_of_a_mean_is_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    interval = mean_interval(values.tolist())
    half = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_groups_widen_the_interval() -> None:
    values = [float(group) for group in range(6) for _ in range(50)]
    groups = [group for group in range(6) for _ in range(50)]
    alone, grouped = mean_interval(values), mean_interval(values, groups)
    assert (grouped.count, grouped.groups) == (300, 6)
    assert grouped.high - grouped.low > 4 * (alone.high - alone.low)


def test_a_share_of_nothing_or_all_has_wilsons_interval() -> None:
    none = share_interval([False] * 30, [i // 10 for i in range(30)])
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(3.8415 / (3 + 3.8415), abs=1e-3)
    every = share_interval([True] * 4)
    assert every.high == 1
    assert every.low == pytest.approx(4 / (4 + 3.8415), abs=1e-3)


def test_intervals_refuse_nothing() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])
    with pytest.raises(ValueError, match="a group for each of 2"):
        mean_interval([1.0, 2.0], ["a"])


# --- style without CLIP --------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_noise_level_is_that_of_white_noise(sigma: float) -> None:
    noise = torch.randn(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0.2, 0.8, 200).expand(1, 3, 200, 200)
    assert float(noise_level(ramp + sigma / 255 * noise)) == pytest.approx(sigma, rel=0.03)
    assert float(noise_level(ramp)) < 0.01


def test_style_distance_sees_texture_and_not_place() -> None:
    metric = load_metric("st-lpips-alex")
    striped = torch.zeros(1, 3, 96, 96)
    striped[..., ::6, :] = 1.0
    works = grams(metric, [striped], CPU)
    moved, other = striped.roll(3, dims=2), smooth_picture(96, 96)
    near, far = style_distances(grams(metric, [moved, other], CPU), works)
    assert near < 0.25 * far
    assert style_distances(works, works) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_unbiased_and_grows() -> None:
    generator = torch.Generator().manual_seed(0)
    first, same, other = torch.randn(3, 60, 8, generator=generator)
    null = kernel_distance(first, same)
    assert null.low < 0 < null.high
    small, large = kernel_distance(first, other + 0.5), kernel_distance(first, other + 1)
    assert 0 < small.value < large.value
    with pytest.raises(ValueError, match="four pictures"):
        kernel_distance(first[:3], other)


def test_kernel_distance_is_torchmetrics_and_holds_for_sets_of_two_sizes() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid", reason="needs torchmetrics (extra test)")

    generator = torch.Generator().manual_seed(0)
    first, other = torch.randn(60, 8, generator=generator), torch.randn(60, 8, generator=generator)
    both = torch.cat([first, other + 0.5]).double() - first.mean(dim=0)
    own, others = (both / both[:60].square().mean().sqrt()).split(60)
    expected = float(kid.poly_mmd(own, others))
    assert kernel_distance(first, other + 0.5).value == pytest.approx(expected, abs=1e-6)

    few = others[:20]
    of_pairs = [kid.poly_kernel(one, one)[~torch.eye(len(one)).bool()].mean() for one in (own, few)]
    expected = float(sum(of_pairs) - 2 * kid.poly_kernel(own, few).mean())
    assert kernel_distance(first, other[:20] + 0.5).value == pytest.approx(expected, abs=1e-6)


def test_probe_tells_styles_apart_and_survives_the_disk(tmp_path: Path) -> None:
    extractor = load_features("st-lpips-alex")
    pictures, names = [], []
    for seed in range(12):
        soft = smooth_picture(64, 64, seed=seed)
        striped = soft.clone()
        striped[..., ::4] = 0
        pictures += [soft, striped]
        names += ["soft", "striped"]
    features = extractor.of(pictures)
    probe = fit_probe(features[:16], names[:16], extractor.name, (features[16:], names[16:]))
    assert probe.accuracy == 1.0
    save_probe(probe, tmp_path / "probe.safetensors")
    loaded, classifier = load_probe(tmp_path / "probe.safetensors")
    assert loaded.accuracy == 1.0
    assert [ranks[0] for ranks in classifier.rank(pictures[16:])] == names[16:]
    with pytest.raises(ValueError, match="two styles"):
        fit_probe(features[:2], ["soft", "soft"], extractor.name)
    (tmp_path / "other.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="Expected a style probe"):
        load_probe(tmp_path / "other.safetensors")


# --- genre shift ---------------------------------------------------------------------------------


def test_the_genres_are_27_and_13() -> None:
    assert (len(set(WIKIART_GENRES)), len(set(DIGITAL_GENRES)), len(set(GENRES))) == (27, 13, 40)


def test_genre_shift_counts_pictures_whose_top_three_lack_the_genre() -> None:
    ranked = [tuple("abcd"), tuple("dcba"), tuple("bcda"), tuple("cabd")]
    assert [has_shifted(row, "a") for row in ranked] == [False, True, True, False]
    assert genre_shift(ranked, "a").value == 0.5
    assert genre_shift(ranked, "a", top=1).value == 0.75
    assert usual_genre([*ranked, tuple("bcda")]) == "b"


def test_classifier_names_are_found_in_any_case() -> None:
    classifier = Classifier("x", ("Ukiyo-e", "Rococo"), lambda x: x, CPU)
    assert classifier.label("ukiyo-E") == "Ukiyo-e"
    with pytest.raises(ValueError, match="Ukiyo-e, Rococo, but got Dada"):
        classifier.label("Dada")


@pytest.fixture
def tiny_clip(tmp_path: Path) -> str:
    """A CLIP with random weights, on disk."""
    write_clip(tmp_path / "clip")
    return str(tmp_path / "clip")


def test_clip_ranks_every_label(tiny_clip: str) -> None:
    classifier = load_clip(tiny_clip, ("Rococo", "Comics", "Anime"))
    first, second = classifier.rank([smooth_picture(40, 60), 1 - smooth_picture(40, 60)])
    assert sorted(first) == sorted(second) == ["Anime", "Comics", "Rococo"]
    assert classifier.name == "clip"
    cosines = classifier.scores(smooth_picture(40, 60))
    assert cosines.shape == (1, 3)
    assert cosines.abs().max() <= 1


def test_found_words_fit_the_pictures_better_than_chance(tiny_clip: str) -> None:
    pictures = [smooth_picture(40, 60), smooth_picture(40, 60, seed=3)]
    inverter = load_inverter(tiny_clip, words=4, steps=60)
    words = inverter.find(pictures, 0)
    assert inverter.name == "clip"
    assert inverter.find(pictures, 0) == words
    letters = random.Random(0)
    chance = ["".join(letters.choices(string.ascii_lowercase, k=4)) for _ in range(50)]
    fit = load_text_matcher(tiny_clip, [words, *chance], CPU)(torch.cat(pictures)).mean(dim=0)
    assert fit[0] > fit[1:].max()


def test_a_model_without_a_text_tower_finds_no_words(tmp_path: Path) -> None:
    folder = tmp_path / "tower"
    write_clip(folder)
    transformers.CLIPModel.from_pretrained(folder).vision_model.config.save_pretrained(folder)
    with pytest.raises(ModelError, match="text tower"):
        load_inverter(str(folder))


def test_image_towers_give_features(tiny_clip: str) -> None:
    features = load_features(tiny_clip).of([smooth_picture(40, 60), smooth_picture(32, 32, 1)])
    assert features.shape == (2, 16)
    assert not torch.allclose(features[0], features[1])
    with pytest.raises(ModelError, match="No model could be loaded"):
        load_features("no/such-model")


# --- outliers ------------------------------------------------------------------------------------


def test_far_points_are_outliers() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn (extra lab)")
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(40, 3, generator=generator)
    verdicts = is_outlier(known, torch.cat([torch.zeros(5, 3), torch.full((5, 3), 30.0)]))
    assert verdicts == [False] * 5 + [True] * 5


def test_detection_of_what_cannot_and_can_be_told_apart() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn (extra lab)")
    generator = torch.Generator().manual_seed(0)
    works = [torch.randn(30, 6, generator=generator) for _ in range(3)]
    blind = detect(works, works, draws=3)
    assert blind.recall.value == pytest.approx(blind.false_alarms.value)
    assert blind.precision is not None
    assert blind.precision.value == pytest.approx(0.5)
    plain = detect(works, [own + 50 for own in works], draws=3)
    assert plain.recall.value == 1
    assert json.dumps(plain.as_json())
    with pytest.raises(ValueError, match="more than 20 works"):
        detect([works[0][:20]], [works[0][:20]])
