"""What doctor finds, and what it says to run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from comfy_glaze.cli.doctor import EXTRAS, torchvision_finding

from ..conftest import Run

ROOT = Path(__file__).parents[2]


def test_an_installation_that_works_is_called_so(run: Run, tiny_pipeline: str) -> None:
    result = run("doctor", "--checkpoint", tiny_pipeline, "--json")
    assert result.exit_code == 0, result.output
    found = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert {"torch", "torchvision", "device", "memory", "disk", "metric"} <= set(found)
    assert "built for" in found["torch"]["found"]
    assert "16 × 16" in found[f"encoder {tiny_pipeline}"]["found"].replace("32 × 32", "16 × 16")
    assert "alexnet" in found["metric"]["found"]
    assert found["metric"]["state"] == "note"
    words = run("doctor").stdout
    assert "Nothing is wrong." in words


def test_a_torchvision_for_another_torch_is_named_with_what_to_run() -> None:
    wanted = Requirement("torch==2.7.1")
    finding = torchvision_finding("2.9.0+cu128", "0.22.1", wanted)
    assert finding.state == "wrong"
    assert "built for torch ==2.7.1, but torch is 2.9.0+cu128" in finding.found
    assert '"torchvision==0.24.*"' in finding.run
    assert finding.run.endswith("--index-url https://download.pytorch.org/whl/cu128")
    assert torchvision_finding("2.7.1", None, None).state == "wrong"


def test_what_is_wrong_ends_with_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = run("doctor", "--checkpoint", "absent.safetensors", "--device", "abacus")
    assert wrong.exit_code == 1
    assert "Wrong: device, checkpoint." in wrong.stdout
    assert "abacus is none" in " ".join(wrong.stdout.split())

    def broken() -> None:
        raise RuntimeError("it fell apart")

    monkeypatch.setattr(sys.modules["comfy_glaze.cli.doctor"], "_memory", broken)
    assert "RuntimeError: it fell apart" in " ".join(run("doctor").stdout.split())


def test_the_extras_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for extra in EXTRAS:
        assert f"\n{extra} = [" in text
