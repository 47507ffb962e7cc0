"""Shards share the work evenly, and lead to one style."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.portfolio.outputs import Job
from comfy_glaze.portfolio.shards import Shard, ShardError
from comfy_glaze.styles.secret import secret_file

from ..conftest import Run
from .runs import make_pictures


def test_shards_of_many_pictures_differ_by_one_at_most() -> None:
    jobs = [Job(Path(name), Path(name), Path(name), name) for name in map(str, range(101))]
    parts = [Shard(part, 8).jobs(jobs) for part in range(1, 9)]
    assert sorted(job.name for part in parts for job in part) == sorted(job.name for job in jobs)
    assert {len(part) for part in parts} == {12, 13}


def test_the_first_shard_chooses_and_the_others_follow_or_are_told_how(tmp_path: Path) -> None:
    first, second, reports = Shard(1, 2), Shard(2, 2), tmp_path / "out-reports"
    reports.mkdir()
    assert first.shared_style(reports, "vae", None) is None
    with pytest.raises(ShardError, match=r"shard 1/2 .* --style-seed [1-9]"):
        second.shared_style(reports, "vae", "Dusk")
    first.share_style(reports, "vae", "Dusk")
    second.share_style(reports, "vae", "Dawn")  # only the first one's counts
    assert second.shared_style(reports, "vae", None) == "Dusk"
    assert first.shared_style(reports, "vae", "Dusk") == "Dusk"
    with pytest.raises(ShardError, match=r'and Dawn is remembered here.*--style "Dusk"'):
        second.shared_style(reports, "vae", "Dawn")
    with pytest.raises(ShardError):
        second.shared_style(reports, "another vae", None)
    (file,) = reports.iterdir()
    file.write_text("{")
    with pytest.raises(ArtworkError, match="is damaged; remove it"):
        second.shared_style(reports, "vae", None)


def test_machines_with_other_secrets_lead_to_one_style(run: Run, tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 4)
    words = ("cloak", "in", "--out", "out", "--steps", 1, "--metric", "none")
    refused = run(*words, "--shard", "2/2")
    assert refused.exit_code == 2
    assert "--style-seed" in refused.output
    styles = set()
    secret_file().parent.mkdir(parents=True, exist_ok=True)
    for part, secret in ((1, "01"), (2, "fe")):
        secret_file().write_text(secret * 32)
        result = run(*words, "--shard", f"{part}/2")
        assert result.exit_code == 0, result.output
    for report in (tmp_path / "out-reports").rglob("*.glaze.json"):
        styles.add(json.loads(report.read_text())["target_style"]["name"])
    assert len(list((tmp_path / "out").rglob("*.*"))) == 4
    assert len(styles) == 1
