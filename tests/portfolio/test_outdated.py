"""What has changed since pictures were cloaked: the table of facts, the list, cloaking again."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.files.atomic import write_json
from comfy_glaze.networks import families
from comfy_glaze.portfolio import outdated as outdated_module
from comfy_glaze.portfolio.changes import CHANGES, Change, changes_since
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outdated import published_pictures
from comfy_glaze.portfolio.outputs import with_ending
from comfy_glaze.portfolio.page import write_page

from ..conftest import Run

ROOT = Path(__file__).parents[2]
LATER = datetime(2100, 1, 1, tzinfo=timezone.utc)
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
REPORT: dict[str, Any] = {
    "version": "0.1.0",
    "rehearsal": False,
    "encoder": {"name": "sdxl", "family": "SD 1, 2 or XL's"},
    "settings": {"objective": "towards", "preset": "strong"},
    "verdict": {"level": "weak", "sentence": "It is weak.", "try": "Try more."},
    "shift": {"512": 0.4},
    "perceptual": {"value": None},
    "linf": 8 / 255,
    "psnr": None,
}


def names(made: datetime, **other: Any) -> list[str]:
    return [change.name for change in changes_since(made, REPORT | other)]


def portfolio(folder: Path, reports: dict[str, dict[str, Any]]) -> Manifest:
    """A reports' folder that tells of pictures by name."""
    manifest = Manifest(folder)
    for name, report in reports.items():
        source = {"file": f"/art/{name}", "sha256": "1"}
        manifest.promise({"source": source, "output": {"file": name, "sha256": "0"}})
        path = with_ending(folder / name, ".glaze.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(REPORT | report, path)
    return manifest


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_every_fact_can_be_checked(change: Change) -> None:
    assert (ROOT / change.source).is_file()
    assert change.since is None or change.since < datetime.now(timezone.utc)
    known = [name for name in vars(families) if name.isupper()]
    reports = [
        REPORT | {"rehearsal": rehearsal, "encoder": {"name": "x", "family": family}, "settings": s}
        for rehearsal in (False, True)
        for family in (getattr(families, name) for name in known)
        for s in ({"objective": "towards", "preset": preset} for preset in PRESETS)
    ]
    concerned = [change.concerns(report) for report in reports]
    assert any(concerned)
    assert not all(concerned)


def test_only_younger_facts_outdate_a_cloak() -> None:
    assert names(LATER) == []
    assert names(LATER, rehearsal=True) == ["rehearsal"]
    old = names(LONG_AGO)
    assert "for FLUX.2's encoder" in old
    assert "for SD 1, 2 or XL's encoder" not in old
    led = {"name": "both", "family": "SD 1, 2 or XL's and FLUX.2's"}
    assert set(old) - set(names(LONG_AGO, encoder=led)) == {"for FLUX.2's encoder"}
    spared = names(LONG_AGO, settings={"preset": "default"})  # as older reports are
    assert set(spared) - set(old) == {
        "the preset did nothing",
        "undone by an upload",
        "the presets go farther",
    }
    assert names(LONG_AGO, poison={"concept": "dog"}) == names(LONG_AGO, system="fawkes") == []


def test_the_worst_come_first(tmp_path: Path) -> None:
    ago = LONG_AGO.isoformat()
    flux = {"name": "ae", "family": "SD 1, 2 or XL's and FLUX.1's or SD 3's"}
    manifest = portfolio(
        tmp_path,
        {
            "new.png": {"made": LATER.isoformat()},
            "less.png": {"made": ago, "encoder": flux},
            "more/stronger.png": {"made": ago, "shift": {"512": 0.9}},
            "more/weaker.png": {"made": ago, "shift": {"512": 0.1}},
            "rehearsal.png": {"made": ago, "rehearsal": True},
            "broken.png": {"encoder": None},
        },
    )
    found = published_pictures(tmp_path, manifest)
    expected = ["rehearsal.png", "more/weaker.png", "more/stronger.png", "less.png", "new.png"]
    assert [picture.name for picture in found] == expected
    assert [picture.is_outdated for picture in found] == [True] * 4 + [False]
    page = write_page(tmp_path, manifest, []).read_text("utf-8")
    assert "4 outdated" in page
    listed = page[page.index("<details>") : page.index("</details>")]
    assert [name for name in expected if name in listed] == expected[:4]
    assert listed.index("rehearsal.png") < listed.index("weaker.png") < listed.index("less.png")


def test_a_report_that_tells_no_time_is_as_old_as_its_file(tmp_path: Path) -> None:
    (picture,) = published_pictures(tmp_path, portfolio(tmp_path, {"art.png": {}}))
    assert datetime.now(timezone.utc) - picture.made < timedelta(minutes=5)
    assert not picture.is_outdated


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_the_command_touches_nothing_and_loads_no_torch(tmp_path: Path) -> None:
    old = {"made": LONG_AGO.isoformat()}
    portfolio(tmp_path / "out-reports", {f"year/{n}.png": old for n in range(20)})
    before = state_of(tmp_path)
    program = (
        "import sys\nfrom comfy_glaze.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules and 'PIL' not in sys.modules"
    )
    words = [sys.executable, "-c", program, "--no-config", "outdated", str(tmp_path / "out")]
    told = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    assert "20 pictures, 20 of them outdated." in told.stdout
    assert f"comfy-glaze cloak /art --out {tmp_path / 'out'} --outdated" in told.stderr
    listed = json.loads(subprocess.run([*words, "--json"], capture_output=True, cwd=ROOT).stdout)
    assert listed["counts"] == {"pictures": 20, "outdated": 20}
    assert all(picture["changes"] for picture in listed["pictures"])
    assert state_of(tmp_path) == before


def test_a_folder_without_cloaks_is_refused(run: Run, tmp_path: Path) -> None:
    told = run("outdated", tmp_path)
    assert told.exit_code == 2
    assert "Expected a folder that pictures were cloaked into" in told.output


def test_only_outdated_pictures_are_cloaked_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("a.png", "more/b.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 40 + number).convert("RGB").save(path)
    words = ["cloak", "in", "--out", "out", "--steps", "1"]
    assert run(*words).exit_code == 0
    report = tmp_path / "out-reports/more/b.png.glaze.json"
    first = json.loads(report.read_bytes())
    report.write_text(json.dumps(first | {"made": LONG_AGO.isoformat()}), encoding="utf-8")
    facts = tuple(change for change in CHANGES if change.since is not None)  # all rehearse here
    monkeypatch.setattr("comfy_glaze.portfolio.changes.CHANGES", facts)
    monkeypatch.setattr(outdated_module, "CHANGES", facts)
    before = state_of(tmp_path / "out")
    told = run(*words, "--outdated", "--seed", "3")
    assert told.exit_code == 0, told.output
    after = state_of(tmp_path / "out")
    assert [name for name in before if before[name] != after[name]] == ["more/b.png"]
    again = json.loads(report.read_bytes())
    assert again["target_style"]["name"] == first["target_style"]["name"]
    assert again["made"] >= first["made"]
    assert "None of these pictures is outdated." in run(*words, "--outdated").output
