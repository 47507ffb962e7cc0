"""What only a device can show; skipped where there is none.

``GLAZE_TEST_DEVICE=mps`` takes another one than CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import Cloak, CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.methods import METHODS, Progress, _descend
from comfy_glaze.cloaking.problem import Problem
from comfy_glaze.cloaking.robustness import ROBUSTNESS
from comfy_glaze.cloaking.room import Room
from comfy_glaze.countermeasures import COUNTERMEASURES, apply_countermeasure, available
from comfy_glaze.countermeasures.tools import Tools
from comfy_glaze.devices import choose_device, fast_dtype
from comfy_glaze.images import resize
from comfy_glaze.networks.encoder_files import load_encoder, load_round_trip
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.networks.turns import one_at_a_time

from .conftest import smooth_picture


def _device() -> torch.device | None:
    try:
        return choose_device(os.environ.get("GLAZE_TEST_DEVICE", "cuda"))
    except ValueError:
        return None


THERE = _device()
pytestmark = pytest.mark.skipif(THERE is None, reason="needs a GPU")
on_cuda = pytest.mark.skipif(THERE is None or THERE.type != "cuda", reason="needs CUDA")

BUDGET = PRESETS["default"]


def there() -> torch.device:
    assert THERE is not None
    return THERE


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Float32 throughout; cuDNN's convolutions take TF32 by themselves."""
    monkeypatch.setattr("comfy_glaze.cloaking.methods.fast_dtype", lambda device: None)
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


def pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    return smooth_picture(height, width), smooth_picture(height, width, seed=5)


def cloaked(device: torch.device, size: tuple[int, int], **settings: object) -> Cloak:
    how = CloakSettings(objective="beyond", **settings)  # type: ignore[arg-type]
    return optimize_cloak(*pair(*size), load_encoder("embedded", device), BUDGET, how)


@pytest.mark.parametrize("size", [(96, 120), (530, 520), (1030, 1040)])
@pytest.mark.parametrize("method", METHODS)
def test_cloaks_are_those_of_the_cpu(single: None, method: str, size: tuple[int, int]) -> None:
    steps = 4 if method == "paper" else 0
    wanted = cloaked(torch.device("cpu"), size, method=method, steps=steps).measures[0]
    found = cloaked(there(), size, method=method, steps=steps).measures[0]
    assert found.shift_512 == pytest.approx(wanted.shift_512, abs=0.005)
    assert found.distance_after == pytest.approx(wanted.distance_after, rel=0.02)
    assert found.changed == pytest.approx(wanted.changed, abs=0.02)  # a share of whole places
    assert found.perceptual == pytest.approx(wanted.perceptual, rel=0.05)
    assert found.linf <= BUDGET.linf + 1e-6  # type: ignore[operator]


def test_half_precision_has_the_effect_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    half = cloaked(there(), (128, 128)).measures[0]
    monkeypatch.setattr("comfy_glaze.cloaking.methods.fast_dtype", lambda device: None)
    whole = cloaked(there(), (128, 128)).measures[0]
    assert half.distance_after == pytest.approx(whole.distance_after, rel=0.02)
    assert half.changed == pytest.approx(whole.changed, abs=0.02)  # a share of whole places


@pytest.mark.parametrize("name", [name for name in ROBUSTNESS if name != "none"])
def test_robust_cloaks(name: str) -> None:
    assert cloaked(there(), (96, 120), robustness=name).measures[0].shift_512 > 0.05


@pytest.mark.parametrize("name", COUNTERMEASURES)
def test_countermeasures(name: str) -> None:
    tools = Tools(load_round_trip("embedded", there()))
    if not available(name, tools):
        pytest.skip(f"{name} needs {COUNTERMEASURES[name].needs}, which is not installed")
    images = smooth_picture(64, 64).to(there())
    changed = apply_countermeasure(name, images, tools=tools)
    assert changed.device.type == there().type
    assert bool(changed.isfinite().all())


def test_resampling_is_that_of_the_cpu() -> None:
    images = smooth_picture(120, 90)
    for soft in (False, True):
        found = resize(images.to(there()), 50, 200, soft).cpu()
        assert torch.allclose(found, resize(images, 50, 200, soft), atol=1e-3)


def test_several_encoders_one_at_a_time() -> None:
    members = one_at_a_time([load_encoder("embedded") for _ in range(2)], there())
    together = combine_encoders(members, [1, 1])
    cloak = optimize_cloak(*pair(96, 96), together, BUDGET, CloakSettings())
    assert min(one.shift_512 for one in cloak.measures[0].encoders) > 0.05


def descent(size: tuple[int, int]) -> tuple[Problem, Progress, Tensor]:
    encoder, metric = load_encoder("embedded", there()), load_metric("st-lpips-alex", there())
    images, styled = (picture.to(there()) for picture in pair(*size))
    comparison = Comparison.of(images, styled, encoder, metric, "beyond")
    problem = Problem.of(comparison, Room.of(images, BUDGET, None), BUDGET, METHODS["fast"].views)
    return problem, Progress(problem, 4, None), problem.random_start(0)


@on_cuda
@pytest.mark.parametrize("size", [(96, 120), (530, 520), (1030, 1040)])
def test_nothing_waits_in_the_loop(size: tuple[int, int]) -> None:
    dtype = fast_dtype(there())
    _descend(*descent(size), 0, None, dtype)  # what a size needs is copied to the device
    again = descent(size)
    torch.cuda.set_sync_debug_mode("error")
    try:
        _descend(*again, 0, None, dtype)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_cuda
def test_the_loop_can_be_a_graph() -> None:
    """Captured once and replayed, it gives what it gives step by step."""
    dtype = fast_dtype(there())
    problem, progress, start = descent((96, 120))
    wanted, _ = _descend(problem, progress, start, 0, None, dtype)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        delta, finite = _descend(problem, progress, start, 0, None, dtype)
    graph.replay()
    torch.cuda.synchronize()
    assert bool(finite)
    assert torch.allclose(delta, wanted, atol=1 / 255)
