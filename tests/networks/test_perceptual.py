from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from comfy_glaze.networks import perceptual
from comfy_glaze.networks.perceptual import (
    PERCEPTUAL_METRICS,
    MetricError,
    PerceptualMetric,
    from_lpips,
    load_metric,
    resolve_metric,
    trunk_file,
)

from ..conftest import smooth_picture

CPU = torch.device("cpu")


def random_lpips(net: str) -> torch.nn.Module:
    """The lpips package with its own linear layers on a trunk with random weights."""
    import lpips

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: torch.nn.Module = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    return module


def metric_named(name: str) -> PerceptualMetric:
    """A metric as it is, but for those whose trunk must be fetched: they get a random one."""
    if name.startswith("lpips-"):
        return from_lpips(random_lpips(name.removeprefix("lpips-")), name, CPU)
    return load_metric(name)


def noisy(images: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_cached_computation_agrees_with_the_lpips_package(net: str) -> None:
    module = random_lpips(net)
    original = smooth_picture(64, 72, batch=2)
    metric = from_lpips(module, f"lpips-{net}", CPU)
    expected = module(original, noisy(original), normalize=True).flatten()
    got = metric.distance(metric.reference(original), noisy(original))
    assert expected.min() > 1e-3
    assert torch.allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.weights
@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_real_trunk_agrees_with_the_lpips_package(
    net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_HOME")
    if not trunk_file(net).is_file():
        pytest.skip(f"the trunk {trunk_file(net).name} is not on this machine")
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = lpips.LPIPS(net=net, verbose=False)
    original = smooth_picture(64, 72)
    metric = load_metric(f"lpips-{net}")
    expected = module(original, noisy(original), normalize=True).flatten()
    got = metric.distance(metric.reference(original), noisy(original))
    assert torch.allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PERCEPTUAL_METRICS)
def test_distance_from_itself_is_zero_and_grows_with_noise(name: str) -> None:
    metric = metric_named(name)
    original = smooth_picture(64, 64)
    reference = metric.reference(original)
    little = metric.distance(reference, original + 0.2 * (noisy(original) - original))
    assert metric.distance(reference, original).item() == 0
    assert 0 < little.item() < metric.distance(reference, noisy(original)).item()


@pytest.mark.parametrize("name", PERCEPTUAL_METRICS)
def test_gradients_reach_the_image_and_not_the_weights(name: str) -> None:
    metric = metric_named(name)
    original = smooth_picture(64, 64)
    original[..., :24, :24] = 0  # black areas give dead features, whose norm has no gradient
    images = noisy(original).requires_grad_()
    metric.distance(metric.reference(original), images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad != 0).float().mean() > 0.9
    assert isinstance(metric.trunk, torch.nn.Module)
    assert not any(parameter.requires_grad for parameter in metric.trunk.parameters())
    assert not any(weight.requires_grad for weight in metric.weights)


@pytest.mark.parametrize("name", ["st-lpips-alex", "st-lpips-vgg"])
def test_batch_members_do_not_mix(name: str) -> None:
    metric = load_metric(name)
    original = smooth_picture(48, 64, batch=3)
    together = metric.distance(metric.reference(original), noisy(original))
    alone = metric.distance(metric.reference(original[1:2]), noisy(original)[1:2])
    assert together[1].item() == pytest.approx(alone.item(), rel=1e-4)


def test_shift_tolerant_package_is_not_imported() -> None:
    load_metric("st-lpips-alex")
    assert not any(module.startswith("stlpips_pytorch") for module in sys.modules)


def test_auto_takes_lpips_only_when_its_trunk_is_on_disk(tmp_path: Path) -> None:
    assert resolve_metric("auto") == "st-lpips-alex"
    trunk_file("alex").parent.mkdir(parents=True)
    trunk_file("alex").touch()
    assert resolve_metric("auto") == "lpips-alex"
    assert resolve_metric("st-lpips-vgg") == "st-lpips-vgg"


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_missing_trunk_is_named_with_the_way_out(net: str) -> None:
    with pytest.raises(MetricError) as caught:
        load_metric(f"lpips-{net}")
    sentence = str(caught.value)
    assert trunk_file(net).name in sentence
    assert str(trunk_file(net).parent) in sentence
    assert "st-lpips-alex" in sentence


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MetricError, match="needs the package stlpips-pytorch"):
        load_metric("st-lpips-alex")


def test_missing_weight_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib.machinery import ModuleSpec

    spec = ModuleSpec("stlpips_pytorch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(MetricError, match=r"needs alex_shift_tolerant.pth in"):
        load_metric("st-lpips-alex")


def test_unknown_metric_is_named() -> None:
    with pytest.raises(MetricError, match=r"among auto, lpips-alex, .* but got ssim"):
        load_metric("ssim")
