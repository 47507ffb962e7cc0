"""The script that measures a device, on the CPU with tiny networks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from training.device_check.__main__ import CHECKS, main, markdown

QUICK = [name for name in CHECKS if name != "tests"]
"""The check ``tests`` runs pytest once more."""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["device_check", "--toy", "--device", "cpu", *words])
    main()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell their peaks")
def test_all_checks_fill_a_table(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, *(word for name in QUICK for word in ("--only", name)))
    found = json.loads((there / "device-check.json").read_text())
    assert found["machine"]["torch"] == torch.__version__
    assert list(found["checks"]) == QUICK
    assert not [one["why"] for one in found["checks"].values() if "why" in one]
    agreed = found["checks"]["agreement"]["rows"]
    assert [row["equal values"] for row in agreed] == [1.0, 1.0]
    table = (there / "device-check.md").read_text()
    assert all(f"### {name.capitalize()} (" in table for name in QUICK)
    assert "| embedded-1 | float32 | 1 | 1 |" in table


def test_a_check_that_fails_costs_no_other(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(device: torch.device, scale: object) -> object:
        yield {"first": 1}
        raise RuntimeError("no room")

    monkeypatch.setitem(CHECKS, "memory", fails)
    check(monkeypatch, "--only", "memory", "--only", "cards")
    found = json.loads((there / "device-check.json").read_text())["checks"]
    assert found["memory"]["rows"] == [{"first": 1}]
    assert found["memory"]["why"] == "Failed: RuntimeError: no room."
    assert found["cards"]["rows"]
    assert "no room" in markdown({"machine": {}, "checks": found})


def test_it_ends_in_time(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, "--minutes", "0", "--only", "cards", "--only", "agreement")
    found = json.loads((there / "device-check.json").read_text())["checks"]
    assert list(found) == ["cards"]
