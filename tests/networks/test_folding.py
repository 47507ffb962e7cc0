from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comfy_glaze.networks.encoder_files import embedded_autoencoder, load_encoder
from comfy_glaze.networks.folding import BlurredConv, DownsamplingPair, HalvingConv
from comfy_glaze.networks.perceptual import _BlurPool, load_metric

from ..conftest import smooth_picture

SIZES = [(64, 64), (64, 65), (65, 64), (67, 93), (16, 18), (13, 14)]


def first_layers() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """An 11 × 11 convolution and a blur, folded and one after the other."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 64, 11, padding=2)
    blur = _BlurPool(64)
    return BlurredConv(convolution), lambda x: blur(convolution(x))


def embedded_layers() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The embedded encoder's first two layers, folded and one after the other."""
    first, second = list(embedded_autoencoder().encoder.layers)[:2]  # type: ignore[union-attr, arg-type]
    return DownsamplingPair(first, second), lambda x: second(first(x))


@pytest.mark.parametrize("layers", [first_layers, embedded_layers])
@pytest.mark.parametrize("size", SIZES)
def test_folded_layers_give_the_same_values_and_gradients(
    layers: Callable[[], tuple[nn.Module, Callable[[Tensor], Tensor]]], size: tuple[int, int]
) -> None:
    """At the edges too, where padding enters between the two."""
    folded, apart = layers()
    found, expected = (smooth_picture(*size, batch=2).requires_grad_() for _ in range(2))
    values, wanted = folded(found), apart(expected)
    assert values.shape == wanted.shape
    assert torch.allclose(values, wanted, rtol=0, atol=1e-5)
    weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2))
    (values * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert found.grad is not None
    assert expected.grad is not None
    assert expected.grad.abs().mean() > 0.01
    assert torch.allclose(found.grad, expected.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("size", [(16, 17), (17, 16), (9, 9)])
def test_halving_convolution_is_one_of_stride_two(kernel: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(6, 3, kernel, kernel, generator=generator)
    bias = torch.randn(6, generator=generator)
    images = smooth_picture(*size)
    expected = F.conv2d(images, weight, bias, stride=2)
    assert torch.allclose(HalvingConv(weight, bias)(images), expected, atol=1e-5)


def test_loaded_networks_are_folded() -> None:
    trunk = load_metric("st-lpips-alex").trunk
    assert isinstance(trunk, nn.Module)
    assert any(isinstance(module, BlurredConv) for module in trunk.modules())
    model = load_encoder("embedded").features.args[0]  # type: ignore[attr-defined]
    assert any(isinstance(module, DownsamplingPair) for module in model.modules())


def test_layers_with_something_between_are_left_alone() -> None:
    plain, halving = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2, 1, bias=False)
    assert DownsamplingPair.fits(plain, halving)
    assert not DownsamplingPair.fits(plain, nn.ReLU())
    assert not DownsamplingPair.fits(plain, nn.Conv2d(8, 8, 3, 2, 1))  # it has a bias
    assert not DownsamplingPair.fits(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), halving)
