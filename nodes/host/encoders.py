"""Φ from the host's VAE: a copy of its encoder half, which has gradients and which the host counts.

The host's own module is only read.  Its state dict, copied to float32 outside inference mode,
becomes a module of ours with the same code, so that the features are those of ``vae.encode``.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import comfy.model_management as mm
import comfy.sd
import comfy.utils
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...comfy_glaze.countermeasures.tools import Tools
from ...comfy_glaze.images import panels_of, views_of
from ...comfy_glaze.networks.encoder_files import load_round_trip
from ...comfy_glaze.networks.encoders import Encoder, EncoderError, fingerprint_of
from ...comfy_glaze.networks.ensemble import combine_encoders
from ...comfy_glaze.networks.perceptual import PerceptualMetric, load_metric
from ..sockets import Ensemble
from .files import vae_path
from .memory import at_work, patcher_of, recomputed, should_recompute, with_less_memory

T = TypeVar("T")

_METRIC_BYTES = 4e3  # that a metric's backward pass keeps per pixel, roughly

_DECODERS = ("decoder", "post_quant_conv", "taesd_decoder", "conv2")
"""Names of decoder halves: KL and Wan, KL, the TAESD family, Wan."""

_NEITHER = ("vae_scale", "vae_shift")  # of the TAESD family: two numbers, no weights

_FITTING = "Wire the VAE of an SD 1, 2, XL, 3, Flux or Wan checkpoint, or one of the TAESD family."

_UNFIT = {
    "PixelspaceConversionVAE": "it gives back the pixels themselves",
    "StageA": "it rounds its features, which leaves no direction to move in",
}
"""Kinds of VAE that load but cannot lead a cloak, and why."""


@dataclass(frozen=True, eq=False)
class HostedEncoder:
    """Φ on the host's device.

    Attributes:
        encoder: the library's view of it.
        patchers: what the host loads and counts; none for encoders of a few megabytes.
        activations: bytes that one backward pass over a picture (H, W) keeps, roughly.
    """

    encoder: Encoder
    patchers: tuple[Any, ...] = ()
    activations: Callable[[int, int], float] = lambda height, width: 2e3 * height * width


_KEPT = {"TAESD": 0.3}
"""What a backward pass keeps, in units of what the host takes an encoder's forward pass to need."""

_made: weakref.WeakKeyDictionary[Any, HostedEncoder] = weakref.WeakKeyDictionary()


def load_vae(name: str) -> Any:
    """One of the host's VAE files, loaded by the host.

    Raises:
        EncoderError: the file holds no VAE.
    """
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(vae_path(name)))
    if vae.first_stage_model is None:
        raise EncoderError(f"{name} holds no VAE that this ComfyUI knows.")
    return vae


def hosted_encoder(wired: Any) -> HostedEncoder:
    """Φ for what came in through an encoder's socket; kept for each VAE as long as that lives.

    Raises:
        EncoderError: a VAE that cannot lead a cloak, by its name.
    """
    if isinstance(wired, Encoder):
        return HostedEncoder(wired)
    combined = isinstance(wired, Ensemble)
    if not combined and getattr(wired, "first_stage_model", None) is None:
        raise EncoderError(
            "The socket 'encoder' needs a VAE, but what is wired brings none; wire the VAE of "
            "a checkpoint, or Load VAE."
        )
    if wired not in _made:
        _made[wired] = _ensemble(wired) if combined else _rebuilt(wired)
    return _made[wired]


def with_encoder(
    wired: Any,
    metric: str,
    size: tuple[int, int],
    work: Callable[[Encoder, PerceptualMetric | None], T],
) -> T:
    """Do some work with Φ and a perceptual metric, while the host has both loaded.

    Args:
        wired: what came in through an encoder's socket.
        metric: its name, or ``none``.
        size: (H, W) of the pictures, which decides how much memory is asked for.
        work: is called once more, with less memory at hand, if that ran out.
    """
    hosted = hosted_encoder(wired)
    device = hosted.encoder.device
    loaded = None if metric == "none" else load_metric(metric, device)
    patchers = list(hosted.patchers)
    if loaded is not None and isinstance(loaded.trunk, nn.Module):
        patchers.append(patcher_of(loaded.trunk, device))
    views = (view for panel in panels_of(*size) for view in views_of(panel.height, panel.width))
    pixels = max(view.height * view.width for view in views)
    side = math.isqrt(pixels)
    activations = hosted.activations(side, side) + _METRIC_BYTES * pixels

    def attempt(recompute: bool) -> T:
        needed = activations / 2 if recompute else activations
        with at_work(patchers, device, needed, recompute):
            return work(hosted.encoder, loaded)

    return with_less_memory(attempt, should_recompute(device, activations))


def borrowed_encoder(wired: Any) -> Encoder:
    """Φ that is loaded anew for each batch, for where the host's own models work in between."""
    own = hosted_encoder(wired).encoder

    def features(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return with_encoder(wired, "none", (height, width), lambda phi, _: phi.features(images))

    return replace(own, features=features, members=())


def tools_of(wired: Any) -> Tools:
    """What countermeasures can use of what is wired: a round trip through it, which Stop ends.

    The host's VAE is asked as it is, so its round trip has no gradient.  Several encoders at once
    have no round trip, and neither has an empty socket.
    """
    if isinstance(wired, Encoder):
        embedded = load_round_trip("embedded", wired.device)
        return Tools(lambda images: _unless_stopped(embedded, images))
    if getattr(wired, "first_stage_model", None) is None:
        return Tools()
    round_trip = partial(_through_host_vae, wired)
    return Tools(lambda images: _unless_stopped(round_trip, images), gradient=False)


def _unless_stopped(round_trip: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    mm.throw_exception_if_processing_interrupted()
    return round_trip(images)


@torch.inference_mode()
def _through_host_vae(vae: Any, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] through the host's VAE; sides it cannot take grow first."""
    height, width = images.shape[-2:]
    block = _multiple(vae)
    grown = F.pad(images, (0, -width % block, 0, -height % block), mode="replicate")
    decoded = vae.decode(vae.encode(grown.movedim(1, -1)))  # of video kinds (B, frames, H, W, 3)
    pictures: Tensor = decoded.reshape(len(images), -1, *decoded.shape[-3:])[:, 0, ..., :3]
    return pictures.movedim(-1, 1)[..., :height, :width].to(images)


def _flat(ensemble: Ensemble) -> Iterator[tuple[Any, float]]:
    """The members, and in place of an ensemble among them its own, which share its weight."""
    for wired, weight in ensemble.members:
        if isinstance(wired, Ensemble):
            total = sum(own for _, own in wired.members)
            yield from ((inner, weight * own / total) for inner, own in _flat(wired))
        else:
            yield wired, weight


def _different(ensemble: Ensemble) -> tuple[list[HostedEncoder], list[float]]:
    """The encoders of an ensemble and their weights; one that comes twice counts for both."""
    members: dict[str, HostedEncoder] = {}
    weights: dict[str, float] = {}
    for wired, weight in _flat(ensemble):
        member = hosted_encoder(wired)
        fingerprint = member.encoder.fingerprint
        members.setdefault(fingerprint, member)
        weights[fingerprint] = weights.get(fingerprint, 0.0) + weight
    return list(members.values()), list(weights.values())


def _ensemble(ensemble: Ensemble) -> HostedEncoder:
    members, weights = _different(ensemble)

    def activations(height: int, width: int) -> float:
        return max(member.activations(height, width) for member in members)  # they take turns

    patchers = tuple(patcher for member in members for patcher in member.patchers)
    with at_work(patchers, members[0].encoder.device, activations(256, 256), False):
        combined = combine_encoders([member.encoder for member in members], weights)
    return HostedEncoder(combined, patchers, activations)


@torch.inference_mode(False)
@torch.no_grad()
def _rebuilt(vae: Any) -> HostedEncoder:
    """The encoder half of a VAE, from a float32 copy of its weights."""
    kind = type(vae.first_stage_model).__name__
    if kind in _UNFIT or vae.latent_dim not in (2, 3):
        why = _UNFIT.get(kind, "it is not for pictures")
        raise EncoderError(f"The VAE at the socket 'encoder' is a {kind}: {why}. {_FITTING}")
    weights = {
        key: value.detach().to("cpu", torch.float32, copy=True)
        for key, value in vae.get_sd().items()
    }
    try:
        # On the CPU: elsewhere the newest hosts attach a memory manager of their own.
        copy = comfy.sd.VAE(sd=dict(weights), device=torch.device("cpu"), dtype=torch.float32)
    except Exception as error:
        raise EncoderError(
            f"The VAE at the socket 'encoder', a {kind}, cannot be copied: {error}. {_FITTING}"
        ) from error
    net = copy.first_stage_model.eval().requires_grad_(False)
    in_time = copy.latent_dim == 3
    for part in () if in_time else _DECODERS:  # the older hosts' Wan counts its decoder's layers
        if hasattr(net, part):
            setattr(net, part, nn.Identity())
    for block in net.modules():
        if type(block).__name__ == "ResnetBlock":  # of the KL family, the largest
            block.forward = recomputed(block.forward)
    estimate, in_time = copy.memory_used_encode, copy.latent_dim == 3
    device = torch.device(vae.device)
    encoder = Encoder(
        name=kind,
        fingerprint=fingerprint_of({k: v for k, v in weights.items() if _encodes(k)}),
        features=partial(_features, net, copy.process_input, in_time),
        multiple=_multiple(copy),
        device=device,
    )

    def activations(height: int, width: int) -> float:
        shape = (1, 3, *((1,) if in_time else ()), height, width)
        return _KEPT.get(kind, 1.8) * float(estimate(shape, torch.float32))

    hosted = HostedEncoder(encoder, (patcher_of(net, device),), activations)
    _try_out(hosted)
    return hosted


def _encodes(key: str) -> bool:
    """Whether a weight belongs to the encoder half."""
    return not key.startswith(tuple(f"{part}." for part in _DECODERS)) and key not in _NEITHER


def _features(
    net: Any, process_input: Callable[[Tensor], Tensor], in_time: bool, images: Tensor
) -> Tensor:
    """What ``vae.encode`` gives for each picture by itself, (B, C, h, w).

    Video kinds would take a batch for the frames of one video, so each picture goes alone, as a
    video of one frame.
    """
    pixels = process_input(images)
    if not in_time:
        features: Tensor = net.encode(pixels)
        return features
    return torch.cat([net.encode(picture[None, :, None])[:, :, 0] for picture in pixels])


def _multiple(vae: Any) -> int:
    """The side of a pixel block that becomes one feature position."""
    return max(int(vae.spacial_compression_encode()), 8)


def _try_out(hosted: HostedEncoder) -> None:
    """One small backward pass, so that a kind that cannot work fails now and by its name."""
    encoder = hosted.encoder
    side = 8 * encoder.multiple
    try:
        with (
            at_work(hosted.patchers, encoder.device, hosted.activations(side, side), False),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
            picture = picture.to(encoder.device).requires_grad_()
            (gradient,) = torch.autograd.grad(encoder(picture).square().mean(), picture)
            works = bool(gradient.isfinite().all()) and bool(gradient.any())
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"The VAE at the socket 'encoder', a {encoder.name}, has no gradient here: {error}. "
            f"{_FITTING}"
        ) from error
    if not works:
        raise EncoderError(
            f"The VAE at the socket 'encoder', a {encoder.name}, gives no usable gradient. "
            f"{_FITTING}"
        )
