"""The encoder half of the host's VAE, copied as it stands and compared with what the host gives.

The host's own module is only read.  Its weights are inference tensors, through which no gradient
goes, so the encoder half is copied outside inference mode: structure, configuration and number
format as the host has them, whatever file they came from.  One small picture goes through both, and
a copy that gives other features is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import comfy.model_management as mm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .memory import recomputed

_DECODERS = frozenset(
    ("decoder", "post_quant_conv", "taesd_decoder", "conv2", "decoder_model", "previewer")
)
"""Names of decoder halves: most kinds, KL, the TAESD family, Wan, Mage, Stable Cascade."""

_NEITHER = ("vae_scale", "vae_shift")  # of the TAESD family: two numbers, no weights

_HOSTS_OWN = frozenset(
    (
        *("_v", "_v_signature", "_pins", "_pin_state", "_prefetch", "seed_key"),
        *("comfy_cast_weights", "prev_comfy_cast_weights", "comfy_force_cast_weights"),
        *("comfy_patched_weights", "weight_function", "bias_function"),
        *("weight_lowvram_function", "bias_lowvram_function", "device", "current_patcher"),
        *("model_loaded_weight_memory", "lowvram_patch_counter", "model_lowvram"),
        *("current_weight_patches_uuid", "model_offload_buffer_memory"),
        *("dynamic_vbars", "dynamic_pins", "dynamic_patchers"),
    )
)
"""What the host's memory manager notes on modules that it loads: it is about the host's module."""

_BLOCKS = frozenset(
    (
        *("ResnetBlock", "ResnetBlock3D", "ResidualBlock", "ResBlock", "CausalResnetBlock3d"),
        *("CausalResnetBlockFactorized3d", "DiCoBlock", "EncoderDiCoBlock"),
    )
)
"""Residual blocks by class name: where nearly all of a backward pass's memory goes."""


@dataclass(frozen=True, eq=False)
class EncoderCopy:
    """A copy of the encoder half, ready for gradients.

    Attributes:
        net: the copied module; its decoder half has no weights.
        features: images (B, 3, H, W) in [0, 1] to what ``vae.encode`` gives for each of them,
            (B, C, h, w); the frames of a video kind, if there are several, lie among the channels.
    """

    net: nn.Module
    features: Callable[[Tensor], Tensor]


@torch.inference_mode(False)
@torch.no_grad()
def copy_encoder(vae: Any) -> EncoderCopy:
    """The encoder half of a VAE of the host, on the CPU, in the number format that it has."""
    net: Any = _copied(vae.first_stage_model).eval().requires_grad_(False)
    if hasattr(net, "parallel"):  # TAEHV's other way detaches what it passes on between frames
        net.parallel = True
    for block in net.modules():
        if type(block).__name__ in _BLOCKS and not _remembers(block):
            block.forward = recomputed(block.forward)
    finish = getattr(vae, "format_encoded", None)
    if finish is not None and hasattr(net, getattr(finish, "__name__", "")):
        finish = getattr(net, finish.__name__)  # the same method, of the copy

    steps = _Steps(
        channels=int(getattr(vae, "output_channels", 3)),
        padding=getattr(vae, "pad_channel_value", None),
        process=vae.process_input,
        in_time=vae.latent_dim == 3,
        one_by_one=vae.latent_dim == 3 and not getattr(vae, "not_video", False),
        finish=finish,
    )
    return EncoderCopy(net, partial(_encode, net, steps))


def _remembers(block: nn.Module) -> bool:
    """Whether layers of LTX's keep notes while they work, which a second pass would not find."""
    return any(hasattr(part, "temporal_cache_state") for part in block.modules())


@dataclass(frozen=True)
class _Steps:
    """What ``vae.encode`` does before and after its network.

    Attributes:
        channels, padding: how many the network takes, and what the missing ones hold.
        process: images in [0, 1] to the network's range.
        in_time: the network takes videos.
        one_by_one: a batch would be taken for the frames of one video.
        finish: what becomes of the result, if anything.
    """

    channels: int
    padding: Any
    process: Callable[[Tensor], Tensor]
    in_time: bool
    one_by_one: bool
    finish: Callable[[Tensor], Tensor] | None


def _encode(net: Any, steps: _Steps, images: Tensor) -> Tensor:
    missing = steps.channels - images.shape[1]
    if missing > 0 and steps.padding is not None:
        images = F.pad(images, (0, 0, 0, 0, 0, missing), value=float(steps.padding))
    pixels = steps.process(images)
    if steps.in_time:
        pixels = pixels[:, :, None]
    batches = [one[None] for one in pixels] if steps.one_by_one else [pixels]
    place = {"device": images.device} if getattr(net, "comfy_has_chunked_io", False) else {}
    encoded = [net.encode(batch, **place) for batch in batches]
    if steps.finish is not None:
        encoded = [steps.finish(one) for one in encoded]
    return as_picture(torch.cat(encoded))


def as_picture(encoded: Tensor) -> Tensor:
    """Features (B, C, h, w) of what an encoder gives, (B, C, h, w) or (B, C, T, h, w)."""
    return encoded.flatten(1, 2) if encoded.ndim == 5 else encoded


def encoder_weights(net: nn.Module) -> dict[str, Tensor]:
    """The weights of the encoder half, by key."""
    return {
        key: value
        for key, value in net.state_dict().items()
        if key.split(".")[0] not in _DECODERS and key not in _NEITHER
    }


def _copied(net: nn.Module) -> nn.Module:
    """A deep copy in which decoders have no weights, and the host's own notes are left out."""
    memo: dict[int, Any] = {}
    parts = [part for name, part in net.named_children() if name not in _DECODERS]
    own = (*net.parameters(recurse=False), *net.buffers(recurse=False))
    needed = {id(one) for one in chain(own, *map(_tensors, parts))}  # some are the decoder's, too
    for one in _tensors(net):
        values = _values(one) if id(one) in needed else torch.empty(0, dtype=one.dtype)
        memo[id(one)] = _like(one, values)
    plain = (bool, int, float, complex, str, bytes, type(None))
    for module in net.modules():
        for name in _HOSTS_OWN & vars(module).keys():
            if not isinstance(vars(module)[name], plain):
                memo[id(vars(module)[name])] = None
    made = copy.deepcopy(net, memo)
    for module in made.modules():
        for name in _HOSTS_OWN & vars(module).keys():
            del vars(module)[name]
    return made


def _tensors(net: nn.Module) -> Iterator[Tensor]:
    return chain(net.parameters(), net.buffers())


def _values(tensor: Tensor) -> Tensor:
    if tensor.is_meta:  # the newest hosts leave weights that a file lacks so, and take them for 0
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return tensor.detach().to("cpu", copy=True)


def _like(tensor: Tensor, values: Tensor) -> Tensor:
    """A parameter for a parameter, a plain tensor for a buffer."""
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=False)
    return values


@torch.inference_mode()
def hosts_features(vae: Any, images: Tensor) -> Tensor:
    """What ``vae.encode`` gives for images (B, 3, H, W) in [0, 1]: float32 (B, C, h, w)."""
    mm.throw_exception_if_processing_interrupted()
    encoded: Tensor = vae.encode(images.movedim(1, -1))
    return as_picture(encoded).float()
