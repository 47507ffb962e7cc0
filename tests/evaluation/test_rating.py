"""The rating kit: blinded pages, and the statistic of what comes back.

The ratings below test arithmetic; none stands for a person.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from comfy_glaze.evaluation.rating import Attempt, key_file, make_kit, success_rates
from comfy_glaze.files.artwork import Artwork, save_artwork

from ..conftest import smooth_picture


@pytest.fixture
def attempts(tmp_path: Path) -> list[Attempt]:
    def pictures(name: str, seed: int) -> tuple[Path, ...]:
        paths = []
        for i in range(5):
            picture = smooth_picture(40, 48, seed=10 * seed + i)
            paths.append(tmp_path / f"{name}-{i}.png")
            save_artwork(picture, Artwork(picture), paths[-1])
        return tuple(paths)

    return [
        Attempt("ada", scenario, pictures("work", 0), pictures(scenario, number))
        for number, scenario in enumerate(("glaze", "plain", "fawkes"), start=1)
    ]


def test_pages_are_blinded_and_even(attempts: list[Attempt], tmp_path: Path) -> None:
    pages = make_kit(attempts, tmp_path / "kit", raters=6, per_rater=2)
    assert len(pages) == 6
    for page in pages:
        text = page.read_text()
        words = re.sub(r"data:image/png;base64,[\w+/=]+", "", text)
        assert not re.search("glaze|plain|fawkes|ada|work-", words, re.IGNORECASE)
        assert text.count("<section>") == 2
        assert text.count("data:image/png;base64,") == 2 * 8
        assert "http" not in words
    assert sorted(path.name for path in (tmp_path / "kit").iterdir()) == sorted(
        page.name for page in pages
    )
    key = json.loads(key_file(tmp_path / "kit").read_text())
    assert Counter(shown["scenario"] for shown in key.values()) == {
        "glaze": 4,
        "plain": 4,
        "fawkes": 4,
    }
    hands = Counter((shown["rater"], shown["scenario"]) for shown in key.values())
    assert set(hands.values()) == {1}
    assert all(code in (tmp_path / "kit").joinpath(pages[shown["rater"] - 1].name).read_text()
               for code, shown in key.items())  # fmt: skip


def test_success_rates(attempts: list[Attempt], tmp_path: Path) -> None:
    make_kit(attempts, tmp_path / "kit", raters=4, per_rater=3)
    key = json.loads(key_file(tmp_path / "kit").read_text())
    given = {"glaze": (5, 4, 4, 3), "plain": (1, 1, 2, 1), "fawkes": (4, 3, 2, 5)}
    files = []
    for rater in range(1, 5):
        rows = [
            f"{code},{given[shown['scenario']][rater - 1]}"
            for code, shown in key.items()
            if shown["rater"] == rater
        ]
        files.append(tmp_path / f"rater-{rater:02d}.csv")
        files[-1].write_text("\n".join(["attempt,rating", *rows]) + "\n")
    rates = {s.scenario: s for s in success_rates(files, key_file(tmp_path / "kit"))}
    assert rates["glaze"].rate.value == 0.75
    assert rates["glaze"].counts == (0, 0, 1, 2, 1)
    assert rates["plain"].rate.value == 0
    assert rates["plain"].rate.high > 0.3
    assert rates["fawkes"].rate.groups == 4

    with pytest.raises(ValueError, match="twice"):
        success_rates([files[0], files[0]], key_file(tmp_path / "kit"))
    files[0].write_text("attempt,rating\nabc,3\n")
    with pytest.raises(ValueError, match="no attempt of this kit"):
        success_rates(files, key_file(tmp_path / "kit"))
    code = next(iter(key))
    files[0].write_text(f"attempt,rating\n{code},6\n")
    with pytest.raises(ValueError, match="from 1 to 5, but got 6"):
        success_rates(files, key_file(tmp_path / "kit"))


def test_refusals(attempts: list[Attempt], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to 3 attempts"):
        make_kit(attempts, tmp_path / "kit", raters=1, per_rater=4)
    few = Attempt("ada", "x", attempts[0].originals, attempts[0].drawn[:3])
    with pytest.raises(ValueError, match="but got 5 and 3"):
        make_kit([few], tmp_path / "kit", raters=1, per_rater=1)
