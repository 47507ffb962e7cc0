from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from comfy_glaze.styles.bank import Style, StyleBank, StyleBankError
from comfy_glaze.styles.target import in_band, rank_styles, select_target_style


def bank_at(*distances: float) -> StyleBank:
    """Styles on a line, their distances from the origin as given, and named by them."""
    styles = tuple(Style(f"at {distance:g}", "Realism", None, "", None) for distance in distances)
    centroids = torch.tensor([[distance, 0.0] for distance in distances])
    return StyleBank(styles, centroids, "blocks", "0" * 16)


def band_of(*distances: float, low: float = 50, high: float = 75) -> list[float]:
    ranked = rank_styles(bank_at(*distances), torch.zeros(2))
    found = [candidate.distance for candidate in in_band(ranked, low, high)]
    return [distance for distance in found if distance is not None]


def test_rank_is_nearest_first_with_percentiles() -> None:
    ranked = rank_styles(bank_at(3, 1, 5, 2, 4), torch.zeros(2))
    assert [candidate.distance for candidate in ranked] == [1, 2, 3, 4, 5]
    assert [candidate.percentile for candidate in ranked] == [0, 25, 50, 75, 100]
    assert ranked[0].style.name == "at 1"


def test_distance_is_measured_from_the_artist() -> None:
    ranked = rank_styles(bank_at(1, 2, 9), torch.tensor([8.0, 0.0]))
    assert [candidate.style.name for candidate in ranked] == ["at 9", "at 2", "at 1"]


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ((1, 2, 3, 4, 5), [3, 4]),  # both ends of the band belong to it
        ((5, 4, 3, 2, 1), [3, 4]),
        ((1, 2, 3, 4, 5, 6, 7, 8), [5, 6]),
        ((1, 2, 2, 2, 3), [2, 2, 2]),  # equal distances share their fate
        ((7, 7, 7), [7, 7, 7]),
        ((4,), [4]),
        ((1, 2), [2]),  # nobody between 1.5 and 1.75: the nearest one, a quarter away
        ((1, 2, 6), [2]),
    ],
)
def test_percentile_rule(distances: tuple[float, ...], expected: list[float]) -> None:
    assert band_of(*distances) == expected


def test_percentile_rule_is_numpys() -> None:
    distances = np.random.default_rng(2).random(101) * 10
    low, high = np.percentile(torch.tensor(distances).float().double(), [50, 75])
    expected = sorted(float(np.float32(d)) for d in distances if low <= np.float32(d) <= high)
    assert band_of(*distances) == pytest.approx(expected)


def test_equal_distances_share_a_percentile() -> None:
    ranked = rank_styles(bank_at(1, 2, 2, 3), torch.zeros(2))
    assert [candidate.percentile for candidate in ranked] == [0, 50, 50, 100]


def test_seed_draws_uniformly_from_the_band() -> None:
    ranked = rank_styles(bank_at(*range(1, 41)), torch.zeros(2))
    band = {candidate.style.name for candidate in in_band(ranked)}
    drawn = Counter(select_target_style(ranked, seed=seed).style.name for seed in range(1000))
    assert set(drawn) == band
    expected = 1000 / len(band)
    chi_square = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert chi_square < 27.9  # 9 degrees of freedom, 0.1%
    assert select_target_style(ranked, seed=3) == select_target_style(ranked, seed=3)


def test_wrong_band_is_named() -> None:
    ranked = rank_styles(bank_at(1, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="low ≤ high ≤ 100, but got low 80 and high 20"):
        in_band(ranked, 80, 20)


def test_empty_bank_and_wrong_centroid_are_named() -> None:
    empty = StyleBank((), torch.zeros(0, 2), "blocks", "0" * 16)
    with pytest.raises(StyleBankError, match="the bank is empty"):
        rank_styles(empty, torch.zeros(2))
    with pytest.raises(StyleBankError, match=r"must have 2 values .* but it has \(3,\)"):
        rank_styles(bank_at(1, 2), torch.zeros(3))
