"""The script that measures a device, on the CPU with tiny networks."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from comfy_glaze.images import resize
from training.device_check.__main__ import CHECKS, FULL, TOY, main, markdown
from training.device_check.counting import Counting

QUICK = [name for name in CHECKS if name != "tests"]
"""The check ``tests`` runs pytest once more."""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_hosts_estimate_holds_what_the_loop_does() -> None:
    """Of a full-size encoder; more is asked for, since workspaces are not counted."""
    rows = CHECKS["counted"](torch.device("cpu"), replace(FULL, sizes=((512, 512),)))
    once, twice = islice(rows, 2)
    for row, spare in ((once, 1.5), (twice, 1.8)):
        assert 1000 < row["peak MiB"] < row["estimate MiB"] < spare * row["peak MiB"]
    assert twice["blocks computed twice"] == "yes"


def test_what_is_counted_is_what_is_held() -> None:
    with Counting() as counting:
        first = torch.zeros(1000)
        kept = [first.double(), first[10:]]
        assert (counting.held, counting.peak) == (12_000, 12_000)
        kept.append(first + 1)
        del kept[0], kept[1]
        assert (counting.held, counting.peak) == (4_000, 16_000)
        assert float(first.mean()) == 0.5
        point = torch.zeros(1000, requires_grad=True)
        counting.peak = counting.held
        (gradient,) = torch.autograd.grad(point.exp().sin().sum(), point)
        assert gradient.shape == (1000,)
        assert counting.peak > counting.held >= 12_000
        assert isinstance(resize(torch.rand(1, 3, 40, 40), 20, 20), FakeTensor)
    assert not isinstance(resize(torch.rand(1, 3, 40, 40), 20, 20), FakeTensor)


def check(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["device_check", "--toy", "--device", "cpu", *words])
    main()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell their peaks")
def test_all_checks_fill_a_table(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = [word for name in QUICK for word in ("--only", name)]
    check(monkeypatch, "--minutes", "60", *only)
    found = json.loads((there / "device-check.json").read_text())
    assert found["machine"]["torch"] == torch.__version__
    assert list(found["checks"]) == QUICK
    assert not [one["why"] for one in found["checks"].values() if "why" in one]
    agreed = found["checks"]["agreement"]["rows"]
    assert [row["equal values"] for row in agreed] == [1.0, 1.0]
    assert all(row["changed"] == row["changed on the CPU"] for row in agreed)
    table = (there / "device-check.md").read_text()
    assert all(f"### {name.capitalize()} (" in table for name in QUICK)
    assert "| embedded-1 | float32 | 1 |" in table


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


def test_a_way_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("device_check.checks._gradient", fails)
    told = [row["ms"] for row in CHECKS["steps"](torch.device("cpu"), TOY)]
    assert told.count("failed: no such kernel") == 8
    assert sum(isinstance(took, float) for took in told) == 2  # the metric's


def test_what_was_measured_is_there_while_a_check_goes_on(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def slow(device: torch.device, scale: object) -> object:
        yield {"row": "first"}
        seen.append((there / "device-check.json").read_text())
        seen.append((there / "device-check.md").read_text())

    monkeypatch.setitem(CHECKS, "memory", slow)
    check(monkeypatch, "--only", "memory")
    assert len(seen) == 2
    assert all("first" in text for text in seen)


def test_it_ends_in_time(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, "--minutes", "0", "--only", "cards", "--only", "agreement")
    found = json.loads((there / "device-check.json").read_text())["checks"]
    assert list(found) == ["cards"]
