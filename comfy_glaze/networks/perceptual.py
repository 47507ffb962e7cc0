"""Perceptual metrics: the LPIPS family, with the original's features computed once.

LPIPS (Zhang et al., CVPR 2018) and its shift-tolerant variant (Ghildyal & Liu, ECCV 2022) compare
unit-normalised features of a small network, layer by layer, under learned channel weights.  Their
scales differ, so a value is always reported with the name of its metric.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images import per_channel
from ..optional import PackageError, import_optional
from .folding import BlurredConv

Reference = list[Tensor]
"""Unit-normalised features of the original, one tensor (B, C, h, w) per layer."""

_INPUT_SHIFT = (-0.030, -0.088, -0.188)  # on [-1, 1]: LPIPS v0.1's scaling layer
_INPUT_SCALE = (0.458, 0.448, 0.450)


class MetricError(ValueError):
    """A metric that cannot be had, in one sentence."""


@dataclass(frozen=True, eq=False)
class PerceptualMetric:
    """d(x₀, x) = Σ_layers mean_positions Σ_channels w (φ̂(x₀) − φ̂(x))², one value per image.

    Attributes:
        name: a key of :data:`PERCEPTUAL_METRICS`.
        trunk: network from images to a list of feature tensors, frozen.
        weights: per layer, the learned channel weights (1, C, 1, 1).
    """

    name: str
    trunk: Callable[[Tensor], Sequence[Tensor]]
    weights: tuple[Tensor, ...]

    def reference(self, original: Tensor) -> Reference:
        """Features of the original (B, 3, H, W) in [0, 1], to be compared with many times."""
        with torch.no_grad():
            return [features / _norm(features) for features in self._features(original)]

    def distance(self, reference: Reference, images: Tensor) -> Tensor:
        """Perceptual distance (B,) of images (B, 3, H, W) in [0, 1] from the reference."""
        total = torch.zeros(images.shape[0], device=images.device)
        layers = zip(self.weights, reference, self._features(images), strict=True)
        for weight, before, features in layers:
            part: Tensor = _LayerDistance.apply(features, before, weight)
            total = total + part
        return total

    def _features(self, images: Tensor) -> Sequence[Tensor]:
        shift, scale = (per_channel(one, images.device) for one in (_INPUT_SHIFT, _INPUT_SCALE))
        # Pooling takes five times as long in the default memory format on CPUs.
        scaled = ((images * 2 - 1 - shift) / scale).contiguous(memory_format=torch.channels_last)
        return self.trunk(scaled)


def _norm(features: Tensor) -> Tensor:
    """‖φ‖ at each position, (B, 1, h, w), never 0: at dead positions all channels are."""
    norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return norm.clamp_min(1e-10) + 1e-10


class _LayerDistance(torch.autograd.Function):
    """mean_positions Σ_channels w (φ̂ − φ̂₀)², (B,), with its gradient in φ written out.

    Left to autograd, the dozen elementwise operations on the largest layer take as long as the
    trunk's convolutions.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
        norm = _norm(features)
        unit = features / norm
        difference = unit - reference
        pull = weight * difference
        ctx.save_for_backward(unit, pull, norm)
        return (pull * difference).sum(dim=1).mean(dim=(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        unit, pull, norm = ctx.saved_tensors
        positions = unit.shape[2] * unit.shape[3]
        along = (pull * unit).sum(dim=1, keepdim=True)  # φ̂ has no component along itself to give
        scale = (2 / positions) * gradients[0].view(-1, 1, 1, 1) / norm
        return scale * torch.addcmul(pull, unit, along, value=-1), None, None


# --- LPIPS, through the lpips package ------------------------------------------------------------


def from_lpips(model: nn.Module, name: str, device: torch.device) -> PerceptualMetric:
    """The metric of an ``lpips.LPIPS`` module: its trunk and its linear layers."""
    model.to(device).eval().requires_grad_(False)
    weights = tuple(layer.model[-1].weight for layer in model.lins)  # type: ignore[union-attr]
    return PerceptualMetric(name, model.net, weights)  # type: ignore[arg-type]


def trunk_file(net: str) -> Path:
    """Where the PyTorch hub keeps the ImageNet trunk of ``alex``, ``vgg`` or ``squeeze``."""
    from torchvision import models

    weights = {
        "alex": models.AlexNet_Weights.IMAGENET1K_V1,
        "vgg": models.VGG16_Weights.IMAGENET1K_V1,
        "squeeze": models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
    }[net]
    return Path(torch.hub.get_dir(), "checkpoints", weights.url.rsplit("/", 1)[-1])


_TORCHVISION_NAME = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


def trunk_hint(net: str) -> str:
    """Which trunk a metric of the lpips package lacks, where it is looked for, how to fetch it."""
    file = trunk_file(net)
    return (
        f"lpips-{net} needs {file.name} in {file.parent}, which is not there; fetch it once with: "
        f'python -c "import torchvision; torchvision.models.'
        f"{_TORCHVISION_NAME[net]}(weights='DEFAULT')\""
    )


def _load_lpips(net: str, device: torch.device) -> PerceptualMetric:
    file = trunk_file(net)
    if not file.is_file():
        raise MetricError(
            f"Metric {trunk_hint(net)} — or use st-lpips-alex, which needs no download."
        )
    try:
        lpips = import_optional("lpips", "lpips", "lpips")
    except PackageError as error:
        raise MetricError(f"Metric lpips-{net} needs {error}.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package still uses torchvision's older arguments
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    trunk = torch.load(file, map_location="cpu", weights_only=True)
    model.net.load_state_dict(
        {key: trunk["features." + key.split(".", 1)[1]] for key in model.net.state_dict()}
    )
    return from_lpips(model, f"lpips-{net}", device)


# --- ST-LPIPS, from the weights inside its package -----------------------------------------------


class _BlurPool(nn.Module):
    """Binomial 3 × 3 low-pass with stride 2, the anti-aliasing of shift-tolerant networks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", line.outer(line).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        kernel: Tensor = self.kernel  # type: ignore[assignment]
        return F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel, stride=2, groups=x.shape[1])


class _Stages(nn.Module):
    """A trunk: stages in sequence, the output of each one a feature layer."""

    def __init__(self, stages: list[nn.Sequential]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


def _conv(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=2 if size > 3 else 1)


def _shift_tolerant_alex() -> _Stages:
    def pool(channels: int) -> list[nn.Module]:
        return [nn.MaxPool2d(3, stride=1), _BlurPool(channels)]

    return _Stages(
        [
            nn.Sequential(_conv(3, 64, 11), _BlurPool(64), nn.ReLU()),
            nn.Sequential(*pool(64), _conv(64, 192, 5), nn.ReLU()),
            nn.Sequential(*pool(192), _conv(192, 384, 3), nn.ReLU()),
            nn.Sequential(_conv(384, 256, 3), nn.ReLU()),
            nn.Sequential(_conv(256, 256, 3), nn.ReLU()),
        ]
    )


def _shift_tolerant_vgg() -> _Stages:
    stages: list[nn.Sequential] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers: list[nn.Module] = []
        if stages:
            layers += [nn.MaxPool2d(2, stride=1), _BlurPool(channels)]
        for _ in range(depth):
            layers += [_conv(channels, width, 3), nn.ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers))
    return _Stages(stages)


_SHIFT_TOLERANT = {"alex": _shift_tolerant_alex, "vgg": _shift_tolerant_vgg}


def _load_st_lpips(net: str, device: torch.device) -> PerceptualMetric:
    # The package's module is not imported: it pulls in a shell and a model printer.
    package = importlib.util.find_spec("stlpips_pytorch")
    if package is None or package.origin is None:
        raise MetricError(
            f"Metric st-lpips-{net} needs the package stlpips-pytorch, which is not installed; "
            "install it with: pip install stlpips-pytorch."
        )
    file = Path(package.origin).parent / "weights" / "vST0.0" / f"{net}_shift_tolerant.pth"
    if not file.is_file():
        raise MetricError(
            f"Metric st-lpips-{net} needs {file.name} in {file.parent}, which is not there; "
            "reinstall the package stlpips-pytorch."
        )
    state = torch.load(file, map_location="cpu", weights_only=True)
    trunk = _SHIFT_TOLERANT[net]()
    convolutions = [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]
    names = [key for key in state if key.startswith("net.") and key.endswith(".weight")]
    for convolution, key in zip(convolutions, names, strict=True):
        convolution.load_state_dict(
            {"weight": state[key], "bias": state[key.removesuffix("weight") + "bias"]}
        )
    trunk.eval().requires_grad_(False)
    if net == "alex":
        trunk.stages[0] = nn.Sequential(BlurredConv(convolutions[0]), nn.ReLU())
    trunk.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = tuple(state[f"lin{i}.model.1.weight"].to(device) for i in range(len(trunk.stages)))
    return PerceptualMetric(f"st-lpips-{net}", trunk, weights)


# --- choosing ------------------------------------------------------------------------------------

PERCEPTUAL_METRICS: dict[str, Callable[[torch.device], PerceptualMetric]] = {
    "lpips-alex": partial(_load_lpips, "alex"),
    "lpips-vgg": partial(_load_lpips, "vgg"),
    "lpips-squeeze": partial(_load_lpips, "squeeze"),
    "st-lpips-alex": partial(_load_st_lpips, "alex"),
    "st-lpips-vgg": partial(_load_st_lpips, "vgg"),
}
"""Metrics by name; each loads on the device it is given."""


def resolve_metric(name: str) -> str:
    """The metric behind ``auto``: lpips-alex when its trunk is on disk, else st-lpips-alex.

    Nothing is downloaded, so a result never depends on the network.  Other names pass unchanged.
    """
    if name != "auto":
        return name
    return "lpips-alex" if trunk_file("alex").is_file() else "st-lpips-alex"


@torch.inference_mode(False)  # weights made in inference mode could never give a gradient
def load_metric(name: str, device: torch.device | str = "cpu") -> PerceptualMetric:
    """Load a metric by name (or ``auto``), frozen, on a device.

    Raises:
        MetricError: an unknown name, or weights that are not on this machine.
    """
    name = resolve_metric(name)
    if name not in PERCEPTUAL_METRICS:
        raise MetricError(
            f"Expected a metric among auto, {', '.join(PERCEPTUAL_METRICS)}, but got {name}."
        )
    return PERCEPTUAL_METRICS[name](torch.device(device))
