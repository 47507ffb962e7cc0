"""What a cloak needs of a device is what MPS and DirectML have, by their own lists."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torchgen
import yaml

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.ties import Ties
from comfy_glaze.evaluation.speed import random_kl
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import load_metric

from .fake_devices import CUDA, PretendedDevice, pictures

pytestmark = pytest.mark.filterwarnings(
    "ignore:User provided device_type of 'cuda'",  # torch then leaves autocast out
    "ignore:CUDA is not available or torch_xla is imported",  # the same in other releases
    "ignore:Accessing the data pointer of FakeTensor",  # of a module that is copied
)


def available_at(operation: str, own: Callable[[str, set[str]], bool]) -> bool:
    """Whether a device has an operation, by torch's list of all that it has.

    Args:
        own: from the operation's name and the keys it is listed under, whether the device has it
            itself.  One that torch makes of others counts as there.
    """
    name, known = operation.removeprefix("aten::"), operations()
    entry = known.get(name)
    if entry is None:
        return False
    entries = [entry, known.get(entry.get("structured_delegate"), {})]
    listed = [one["dispatch"] for one in entries if "dispatch" in one] or [{"Composite": ""}]
    keys = {key.strip() for dispatch in listed for keys in dispatch for key in keys.split(",")}
    return own(name, keys) or any(key.startswith("Composite") for key in keys)


def on_mps(operation: str) -> bool:
    """Whether torch has an operation for MPS."""
    return available_at(operation, lambda _, keys: "MPS" in keys)


@cache
def directml_operations() -> set[str]:
    lines = Path(__file__).with_name("directml_operations.txt").read_text("utf-8").splitlines()
    return {name for line in lines if not line.startswith("#") for name in line.split()}


def on_directml(operation: str) -> bool:
    """Whether torch-directml has an operation, in place or not."""

    def own(name: str, _: set[str]) -> bool:
        return name.split(".")[0].removesuffix("_") in directml_operations()

    return available_at(operation, own)


@cache
def operations() -> dict[str, Any]:
    listed = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    entries = yaml.load(listed.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {entry["func"].split("(")[0]: entry for entry in entries}


@pytest.mark.parametrize(
    "settings",
    [
        CloakSettings(steps=2),
        CloakSettings(steps=2, objective="beyond", tile=True),
        CloakSettings(steps=6, robustness="web", objective="away"),
        CloakSettings(steps=6, robustness="strong", objective="to-zero"),
        CloakSettings("paper", steps=1),
    ],
    ids=lambda settings: f"{settings.method} {settings.objective} {settings.robustness}",
)
def test_mps_has_all_that_a_cloak_needs(cuda: PretendedDevice, settings: CloakSettings) -> None:
    """Operations with their gradients, and no float64.  The pretence is CUDA's; where the code
    takes another way on MPS it is to spare it what is listed here."""
    encoder = load_encoder("embedded", CUDA)
    assert_mps_has_all(cuda, encoder, settings)
    assert "linalg_eig" in operations()
    assert not on_mps("aten::linalg_eig")  # the list can say no


def test_mps_has_all_that_pixel_art_needs(
    cuda: PretendedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares = Ties(block=(8, 8), first=(3, 5))
    monkeypatch.setattr(Ties, "of", lambda *_, **__: squares)
    assert_mps_has_all(cuda, load_encoder("embedded", CUDA), CloakSettings(steps=2), (66, 70))


def test_mps_has_all_that_several_encoders_need(cuda: PretendedDevice) -> None:
    members = [load_encoder("embedded", CUDA), random_kl("SD", CUDA, width=32)]
    assert_mps_has_all(
        cuda, combine_encoders(members, [1, 2]), CloakSettings("brief", steps=4), (66, 70)
    )


def assert_mps_has_all(
    cuda: PretendedDevice,
    encoder: Encoder,
    settings: CloakSettings,
    size: tuple[int, int] = (520, 560),
) -> None:
    metric, budget = load_metric("st-lpips-alex", CUDA), PRESETS["default"]
    pair = (pictures(*size), pictures(*size))
    optimize_cloak(*pair, encoder, budget, settings, metric=metric)
    needed = {name for name in cuda.seen if name.startswith("aten::")}
    assert len(needed) > 50
    assert {name for name in needed if not on_mps(name)} == set()
    assert cuda.doubles == set()


FEW = {"aten::amin", "aten::lerp.Tensor", "aten::replication_pad2d_backward"}
ON_THE_CPU = {"embedded": FEW, "KL": FEW | {"aten::native_group_norm_backward"}}
"""What a cloak needs and DirectML has not, by encoder; docs/speed.md names it."""


@pytest.mark.parametrize("name", ON_THE_CPU)
def test_directml_lacks_what_the_docs_name(cuda: PretendedDevice, name: str) -> None:
    """DirectML takes the rest to the CPU and back, which is slow, and no error."""
    encoder = random_kl("SD", CUDA, width=32) if name == "KL" else load_encoder("embedded", CUDA)
    metric = load_metric("st-lpips-alex", CUDA)
    settings, pair = CloakSettings(steps=2), (pictures(520, 560), pictures(520, 560))
    cuda.seen.clear()
    optimize_cloak(*pair, encoder, PRESETS["default"], settings, metric=metric)
    needed = {name for name in cuda.seen if name.startswith("aten::")}
    assert len(needed) > 50
    assert {name for name in needed if not on_directml(name)} == ON_THE_CPU[name]
    assert cuda.doubles == set()
