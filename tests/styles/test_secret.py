"""The target style is not the same for everyone, and the same for one artist."""

from __future__ import annotations

import os
import secrets
import stat
from collections import Counter
from pathlib import Path

import pytest

from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.styles.bank import StyleBankError, builtin_styles
from comfy_glaze.styles.secret import secret_file, seed_of
from comfy_glaze.styles.target import TargetStyle, in_band, select_target_style

from ..conftest import posix_words

RANKED = [TargetStyle(style, float(n), float(n)) for n, style in enumerate(builtin_styles()[:24])]


@pytest.fixture(autouse=True)
def _by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfy_glaze.styles.secret.secrets", secrets)


def test_a_seed_other_than_0_is_the_same_everywhere() -> None:
    secret_file().unlink(missing_ok=True)
    assert seed_of("Ada", 7) == 7
    assert not secret_file().exists()


def test_artists_and_machines_draw_differently_and_each_the_same_again() -> None:
    drawn = [seed_of(name, 0) for name in ("", "Ada", "Bo")]
    assert len(set(drawn)) == 3
    assert drawn == [seed_of(name, 0) for name in ("", " ADA ", "Bo")]
    secret_file().unlink(missing_ok=True)
    assert seed_of("Ada", 0) not in drawn


def test_the_draws_of_many_secrets_fill_the_band() -> None:
    drawn = []
    for _ in range(120):
        secret_file().unlink(missing_ok=True)
        drawn.append(select_target_style(RANKED, seed=seed_of("", 0)).style.name)
    counts = Counter(drawn)
    band = in_band(RANKED)
    assert set(counts) == {candidate.style.name for candidate in band}
    assert max(counts.values()) < 3 * len(drawn) / len(band)


@posix_words
def test_the_secret_is_private_and_whole_or_refused(tmp_path: Path) -> None:
    secret_file().unlink(missing_ok=True)
    seed_of("", 0)
    assert stat.S_IMODE(secret_file().stat().st_mode) == 0o600
    secret_file().write_text("2a2a")
    with pytest.raises(StyleBankError, match=r"target-style-secret.* is damaged; restore it"):
        seed_of("", 0)


@posix_words
def test_a_config_folder_that_cannot_be_written_to_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret_file().unlink(missing_ok=True)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtworkError, match=r"No space left on device.*--style-seed"):
        seed_of("", 0)
    assert not secret_file().exists()
