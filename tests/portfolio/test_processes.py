"""Processes that die: what they had in hand is told as failed, and the rest is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.files.finding import find_artworks
from comfy_glaze.portfolio import processes
from comfy_glaze.portfolio.engine import CloakRequest
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import plan_outputs, reports_folder
from comfy_glaze.portfolio.processes import cloak_in_processes
from comfy_glaze.portfolio.run import cloak_and_stage

from .kinds import soft
from .runs import small_engine


class Pool:
    """Does at once what it is given; the first of all dies after its first picture."""

    made = 0

    def __init__(self, *_: object) -> None:
        Pool.made += 1
        self.dies = Pool.made == 1
        self.taken = 0

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, work: Callable[..., Any], *words: Any) -> Future[Any]:
        self.taken += 1
        if self.dies and self.taken > 1:
            raise BrokenProcessPool("died while it had nothing in hand")
        done: Future[Any] = Future()
        done.set_result(work(*words))
        return done


def test_a_process_that_dies_idle_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, out = tmp_path / "in", tmp_path / "out"
    top.mkdir()
    for number in range(4):
        Image.fromarray(soft(seed=number)).save(top / f"{number}.png")
    engine = small_engine(steps=1)
    monkeypatch.setattr(Pool, "made", 0)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(
        processes,
        "_cloak",
        lambda job, *_: cloak_and_stage(job, processes.load_artwork(job.source), engine),
    )
    reports_folder(out).mkdir(parents=True)
    manifest = Manifest(reports_folder(out))
    jobs, _ = plan_outputs(find_artworks([top]), out, "same", manifest)
    request = CloakRequest(PRESETS["default"])
    outcomes = list(cloak_in_processes(jobs, request, engine, manifest, 2))
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert {outcome.job.name for outcome in outcomes} == {f"{number}.png" for number in range(4)}
    assert Pool.made == 2
