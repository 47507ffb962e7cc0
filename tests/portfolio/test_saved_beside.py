"""A picture that is saved while the next one is cloaked, as on a GPU."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.portfolio import run as portfolio
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outcome import Outcome
from comfy_glaze.portfolio.outputs import reports_folder
from comfy_glaze.portfolio.run import BESIDE, cloak_portfolio
from comfy_glaze.portfolio.saving import StagedFiles, WrittenPicture

from .runs import jobs_of, make_pictures, small_engine, tree_of

LONG = 60  # seconds, for which nothing that works waits


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_pictures(tmp_path / "in", 6)
    monkeypatch.setattr(portfolio, "_beside", lambda made: True)
    return tmp_path / "in"


def cloaked(works: Path, out: Path, **options: Any) -> list[Outcome]:
    reports_folder(out).mkdir(parents=True, exist_ok=True)
    manifest = Manifest(reports_folder(out))
    return list(cloak_portfolio(jobs_of(works, out, manifest), small_engine(), manifest, **options))


def reports(out: Path) -> dict[str, Any]:
    """All but when it was, and how long it took."""
    found = {}
    for path in sorted(reports_folder(out).rglob("*.json")):
        found[path.name] = json.loads(path.read_text("utf-8"))
        del found[path.name]["made"], found[path.name]["seconds"]
    return found


def lines(out: Path) -> list[dict[str, Any]]:
    """Of the manifest, without the way to the sources."""
    text = (reports_folder(out) / "manifest.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("batch", [1, 4])
def test_everything_is_as_without(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    (works / "year 1/000 text.png").write_text("no picture")
    beside = cloaked(works, tmp_path / "beside", batch=batch)
    monkeypatch.setattr(portfolio, "_beside", lambda made: False)
    alone = cloaked(works, tmp_path / "alone", batch=batch)
    assert [(one.job.name, one.error) for one in beside] == [
        (one.job.name, one.error) for one in alone
    ]
    assert sum(one.error is not None for one in alone) == 1
    assert tree_of(tmp_path / "beside") == tree_of(tmp_path / "alone")
    assert reports(tmp_path / "beside") == reports(tmp_path / "alone")
    assert len(reports(tmp_path / "alone")) == 6
    assert lines(tmp_path / "beside") == lines(tmp_path / "alone")


def test_one_is_saved_while_the_next_is_cloaked(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other: saving until the next cloak is under way, and that for saving to
    have begun.  The cloak after that finds it done."""
    names = [job.source.name for job in jobs_of(works, tmp_path / "other")]
    cloaking, saving, done = ({name: threading.Event() for name in names} for _ in range(3))
    cloak, complete = portfolio.cloak_and_write, WrittenPicture.complete

    def cloak_one(pictures: Any, *arguments: Any) -> Any:
        name = pictures[0][0].source.name
        number = names.index(name)
        cloaking[name].set()
        if number > 0:
            assert saving[names[number - 1]].wait(LONG)
        assert all(done[name].is_set() for name in names[: max(0, number - 1)])
        return cloak(pictures, *arguments)

    def save_one(made: WrittenPicture) -> StagedFiles:
        name = made.staged.job.source.name
        number = names.index(name)
        saving[name].set()
        if number < len(names) - 1:
            assert cloaking[names[number + 1]].wait(LONG)
        staged = complete(made)
        done[name].set()
        return staged

    monkeypatch.setattr(portfolio, "cloak_and_write", cloak_one)
    monkeypatch.setattr(WrittenPicture, "complete", save_one)
    assert [outcome.error for outcome in cloaked(works, tmp_path / "out")] == [None] * 6


def test_one_that_cannot_be_saved_costs_no_other(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, complete = works / "year 0/003.png", WrittenPicture.complete

    def save_one(made: WrittenPicture) -> StagedFiles:
        if made.staged.job.source == failing:
            made.staged.discard()
            raise ArtworkError("No space left for it.")
        return complete(made)

    monkeypatch.setattr(WrittenPicture, "complete", save_one)
    outcomes = cloaked(works, tmp_path / "out")
    assert [outcome.job.source.name for outcome in outcomes][:2] == ["000.png", "003.png"]
    assert [outcome.error for outcome in outcomes] == [
        None,
        f"{failing}: No space left for it.",
        *[None] * 4,
    ]
    assert len(tree_of(tmp_path / "out")) == 5


def test_a_stop_tells_what_is_being_saved_and_resume_does_the_rest(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    cloaked(works, undisturbed)
    cloak, count = portfolio.cloak_and_write, [0]

    def stopped_at_the_third(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return cloak(*arguments)

    monkeypatch.setattr(portfolio, "cloak_and_write", stopped_at_the_third)
    reports_folder(out).mkdir(parents=True)
    manifest, told = Manifest(reports_folder(out)), []
    outcomes = cloak_portfolio(jobs_of(works, out, manifest), small_engine(), manifest)

    def tell() -> None:
        for outcome in outcomes:
            told.append(outcome.job.name)

    with pytest.raises(KeyboardInterrupt):
        tell()
    assert len(told) == 2
    assert told == [entry["output"]["file"] for entry in lines(out)]
    assert sorted(told) == sorted(tree_of(out))
    monkeypatch.setattr(portfolio, "cloak_and_write", cloak)
    again = cloaked(works, out, resume=True)
    assert sum(outcome.report is not None for outcome in again) == 4
    assert tree_of(out) == tree_of(undisturbed)


@pytest.mark.parametrize(
    ("device", "size", "expected"),
    [
        ("cpu", (64, 64), False),
        ("cuda", (64, 64), True),
        ("mps", (4000, 3000), True),
        ("cuda", (4000, BESIDE // 4000 + 1), False),
    ],
)
def test_where_it_is_so(device: str, size: tuple[int, int], expected: bool) -> None:
    """On a CPU the work of saving would take the cores from the cloak."""
    made: Any = SimpleNamespace(
        picture=SimpleNamespace(original=torch.empty(1, 3, *size, device="meta")),
        encoder=SimpleNamespace(device=torch.device(device)),
    )
    assert portfolio._beside(made) == expected
