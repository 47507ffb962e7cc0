"""Φ from the host's VAE: a copy of its encoder half, which has gradients and which the host counts.

The host's own module is only read; see :mod:`.encoder_copy`.
"""

from __future__ import annotations

import logging
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
from ...comfy_glaze.devices import METRIC_BYTES, SPARE, TWICE, kept_for_backward
from ...comfy_glaze.errors import first_line
from ...comfy_glaze.images import panels_of, views_of
from ...comfy_glaze.networks.encoder_files import load_encoder, load_round_trip
from ...comfy_glaze.networks.encoders import Encoder, EncoderError, fingerprint_of
from ...comfy_glaze.networks.ensemble import combine_encoders
from ...comfy_glaze.networks.perceptual import PerceptualMetric, load_metric
from ...comfy_glaze.portfolio.seen import Seen, seen_by, through
from ..sockets import Ensemble
from .encoder_copy import EncoderCopy, copy_encoder, encoder_weights, hosts_features
from .encoder_kinds import FITTING, called, decodes, hosts_block, why_unfit
from .files import vae_path
from .memory import (
    at_work,
    come_in,
    ensure_room,
    is_out_of_memory,
    patcher_of,
    should_recompute,
    with_less_memory,
)

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class HostedEncoder:
    """Φ on the host's device.

    Attributes:
        encoder: the library's view of it.
        patchers: what the host loads and counts; none for encoders of a few megabytes.  One of
            several encoders brings its own to the device when it is asked for features.
        activations: bytes that one backward pass over a picture (H, W) keeps, roughly.
    """

    encoder: Encoder
    patchers: tuple[Any, ...] = ()
    activations: Callable[[int, int], float] = lambda height, width: 2e3 * height * width


_AGREE = {True: 0.01, False: 0.1}
"""How far the copy's features may be off, by whether the host encodes in float32."""

_made: weakref.WeakKeyDictionary[Any, HostedEncoder] = weakref.WeakKeyDictionary()


_FOR_FLUX_2 = "taesd_encoder.11.pool.0.weight"  # what only the small encoder of FLUX.2 has


def load_vae(name: str) -> Any:
    """One of the host's VAE files, loaded by the host; a small encoder alone by the library.

    Raises:
        EncoderError: the file holds no VAE.
    """
    path = vae_path(name)
    weights, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    if _FOR_FLUX_2 in weights:
        metadata = {**(metadata or {}), "tae_latent_channels": 128}  # as the host's own loader
    vae = comfy.sd.VAE(sd=weights, metadata=metadata)
    if vae.first_stage_model is not None:
        return vae
    return load_encoder(path, mm.vae_device())


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
    several = bool(hosted.encoder.members)
    staying, in_turn = ((), hosted.patchers) if several else (hosted.patchers, ())
    if loaded is not None and isinstance(loaded.trunk, nn.Module):
        staying = (*staying, patcher_of(loaded.trunk, device))
    views = (view for panel in panels_of(*size) for view in views_of(panel.height, panel.width))
    pixels = max(view.height * view.width for view in views)
    side = math.isqrt(pixels)
    activations = hosted.activations(side, side) + METRIC_BYTES * pixels

    height, width = size
    purpose = f"for a picture of {width} × {height} pixels"
    ensure_room(hosted.encoder.name, device, TWICE * activations, purpose)

    def attempt(recompute: bool) -> T:
        needed = TWICE * activations if recompute else activations
        with at_work(staying, device, needed, recompute, in_turn):
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
    have no round trip, and neither has a small encoder alone or an empty socket.
    """
    if isinstance(wired, Encoder):
        if not wired.is_rehearsal:
            return Tools()
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
    block = hosts_block(vae)
    grown = F.pad(images, (0, -width % block, 0, -height % block), mode="replicate")
    decoded = vae.decode(vae.encode(grown.movedim(1, -1)))  # of video kinds (B, frames, H, W, 3)
    pictures: Tensor = decoded.reshape(len(images), -1, *decoded.shape[-3:])[:, 0, ..., :3]
    return pictures.movedim(-1, 1)[..., :height, :width].to(images)


def seen_through(wired: Any, original: Tensor, cloaked: Tensor) -> list[Seen]:
    """What the autoencoders that are wired make of a picture and of its cloaked copy.

    The host's VAE is asked as it is.  Several at once give one entry each; encoders alone, and the
    embedded one, give none.

    Args:
        original, cloaked: (1, 3, H, W) in [0, 1].
    """
    if isinstance(wired, Ensemble):
        alone = dict.fromkeys(one for one, _ in _flat(wired))  # one that comes twice is shown once
        return [seen for one in alone for seen in seen_through(one, original, cloaked)]
    if isinstance(wired, Encoder):
        return seen_by(wired, original, cloaked)
    if getattr(wired, "first_stage_model", None) is None or not decodes(wired):
        return []
    try:
        return [through(original, cloaked, called(wired), partial(_through_host_vae, wired))]
    except mm.InterruptProcessingException:  # an Exception in older hosts
        raise
    except Exception as error:  # of the many kinds, each fails in its own way; the cloak is made
        logging.warning("%s VAE decodes no picture here: %s", called(wired), first_line(error))
        return []


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
    with at_work((), members[0].encoder.device, 0.0, False, patchers):
        combined = combine_encoders([_in_turn(member) for member in members], weights)
    return HostedEncoder(combined, patchers, activations)


def _in_turn(member: HostedEncoder) -> Encoder:
    """One of several, which comes to the device when it is asked for features."""

    def features(images: Tensor) -> Tensor:
        needed = member.activations(images.shape[-2], images.shape[-1])
        for patcher in member.patchers:
            come_in(patcher, member.encoder.device, needed)
        return member.encoder.features(images)

    return replace(member.encoder, features=features)


def _rebuilt(vae: Any) -> HostedEncoder:
    """A copy of the encoder half of a VAE, tried on one small picture.

    Raises:
        EncoderError: a kind that cannot lead a cloak, or whose copy gives other features than the
            host, or no gradient.
    """
    words = f"The VAE at the socket 'encoder' ({called(vae)})"
    why = why_unfit(vae)
    if why:
        raise EncoderError(f"{words} cannot lead a cloak: {why}. {FITTING}")
    weights = encoder_weights(vae.first_stage_model).values()
    copies = sum(weight.numel() * (weight.element_size() + 4) for weight in weights)
    ensure_room(called(vae), torch.device("cpu"), copies, "for a copy that has gradients")
    block = hosts_block(vae)
    side = max(64, 2 * block)
    picture = torch.rand(1, 3, side, side + block, generator=torch.Generator().manual_seed(0))
    try:
        wanted = hosts_features(vae, picture)
        copied = copy_encoder(vae)
        encoder = Encoder(
            name=called(vae),
            fingerprint=fingerprint_of(encoder_weights(copied.net)),
            features=copied.features,
            multiple=max(1, side // wanted.shape[-2]),
            device=torch.device(vae.device),
            family=called(vae),
        )
        return _tried(encoder, copied, picture, wanted, vae.vae_dtype)
    except mm.InterruptProcessingException:  # an Exception in older hosts
        raise
    except EncoderError as error:
        raise EncoderError(f"{words} {error} {FITTING}") from error
    except Exception as error:  # of the many kinds, each fails in its own way
        if is_out_of_memory(error):
            raise
        raise EncoderError(
            f"{words} cannot lead a cloak here: {first_line(error)}. {FITTING}"
        ) from error


def _tried(
    encoder: Encoder, copied: EncoderCopy, picture: Tensor, wanted: Tensor, dtype: torch.dtype
) -> HostedEncoder:
    """The encoder with what it keeps for a backward pass, once a picture went through it.

    Args:
        wanted: what the host itself gives for the picture.
        dtype: that the host encodes in.

    Raises:
        EncoderError: other features, or no gradient.
    """
    patcher = patcher_of(copied.net, encoder.device)
    with (
        at_work((patcher,), encoder.device, 0.0, False),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        weights = copied.net.state_dict().values()
        pixels = picture.to(encoder.device, copy=True).requires_grad_()
        found, kept = kept_for_backward(lambda: copied.features(pixels), weights)
        if not found.requires_grad:
            raise EncoderError("has no gradient in this version of ComfyUI.")
        (gradient,) = torch.autograd.grad(found.square().mean(), pixels)
    if not (bool(gradient.isfinite().all()) and bool(gradient.any())):
        raise EncoderError("gives no usable gradient.")
    found = found.detach().cpu()
    wanted = wanted.cpu()
    if found.shape != wanted.shape:
        raise EncoderError(
            f"could not be copied: the copy gives features of {tuple(found.shape)} where ComfyUI "
            f"gives {tuple(wanted.shape)}."
        )
    error = float((found - wanted).norm() / wanted.norm().clamp_min(1e-12))
    if not error <= _AGREE[dtype == torch.float32]:
        raise EncoderError(f"could not be copied: the copy's features are off by {error:.0%}.")
    per_pixel = SPARE * kept / (picture.shape[-2] * picture.shape[-1])
    return HostedEncoder(encoder, (patcher,), lambda height, width: per_pixel * height * width)
