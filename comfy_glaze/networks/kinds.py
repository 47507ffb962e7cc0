"""Kinds of encoders: what each class gives as features, on which grid, and whose it is.

A picture is one frame for the classes that were made for videos.  All features are deterministic:
the mean of the posterior, never a sample of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import families
from .families import small

MEAN = "the latent mean, as the class gives it, before any scaling"
LATENTS = "the latents, as the class gives them"
PACKED = "the latent mean, packed 2 × 2 and normalised, as FLUX.2 is trained on it"
UNQUANTISED = "the features before they are rounded to the codebook"


def _decoded(model: Any, latents: Tensor) -> Tensor:
    decoded: Tensor = model.decode(latents).sample
    return decoded[:, :3] / 2 + 0.5


@dataclass(frozen=True)
class EncoderKind:
    """How a class serves as Φ.

    Attributes:
        features: (model, images (B, 3, H, W) in [0, 1]) to its deterministic features (B, C, h, w).
        multiple: from the model's configuration to the side of a pixel block that becomes one
            feature position.
        family: whose encoder it is, as artists know it (``FLUX.2's``), from its configuration.
        gives: what the features are.
        decode: (model, features) to the pictures that the model's decoder makes of them, (B, 3, H,
            W), about in [0, 1]; None where it has none that gives the same again.
    """

    features: Callable[[Any, Tensor], Tensor]
    multiple: Callable[[Any], int]
    family: Callable[[Any], str]
    gives: str = MEAN
    decode: Callable[[Any, Tensor], Tensor] | None = _decoded


def _mean(model: Any, images: Tensor) -> Tensor:
    mean: Tensor = model.encode(images * 2 - 1).latent_dist.mode()
    return mean


def _packed_mean(model: Any, images: Tensor) -> Tensor:
    """In the order and with the statistics of FLUX.2's pipelines, which train and draw so."""
    mean = F.pixel_unshuffle(_mean(model, images), int(model.config.patch_size[0]))
    centre, spread = _statistics(model)
    packed: Tensor = (mean - centre) / spread
    return packed


def _unpacked(model: Any, features: Tensor) -> Tensor:
    centre, spread = (one.to(features) for one in _statistics(model))
    mean = F.pixel_shuffle(features * spread + centre, int(model.config.patch_size[0]))
    return _decoded(model, mean)


def _statistics(model: Any) -> tuple[Tensor, Tensor]:
    variance = model.bn.running_var + model.config.batch_norm_eps
    return model.bn.running_mean.view(1, -1, 1, 1), variance.sqrt().view(1, -1, 1, 1)


def _frame_mean(model: Any, images: Tensor) -> Tensor:
    """Each picture by itself, as a video of one frame; a fourth channel is opaque."""
    config = model.config
    channels = config.get("in_channels", config.get("input_channels", 3))
    if channels == 4:
        images = F.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)
    videos = (images * 2 - 1)[:, :, None]
    means = [model.encode(video[None]).latent_dist.mode() for video in videos]
    return torch.cat(means).flatten(1, 2)


def _first_frame(model: Any, features: Tensor) -> Tensor:
    frame = _decoded(model, features[:, :, None])[:, :, 0]
    return frame[:, :3]  # a fourth channel is what is opaque


def _video(
    multiple: Callable[[Any], int],
    family: str | Callable[[Any], str],
    decode: Callable[[Any, Tensor], Tensor] | None = _first_frame,
) -> EncoderKind:
    """A class for videos, which takes a picture for one frame."""
    whose = _always(family) if isinstance(family, str) else family
    return EncoderKind(_frame_mean, multiple, whose, decode=decode)


def _latent(model: Any, images: Tensor) -> Tensor:
    latent: Tensor = model.encode(images * 2 - 1).latent
    return latent


def _latents(model: Any, images: Tensor) -> Tensor:
    # Plain convolutions run half as long again in the default memory format on CPUs.
    images = images.contiguous(memory_format=torch.channels_last)
    latents: Tensor = model.encode(images * 2 - 1).latents
    return latents


def _small(model: Any, images: Tensor) -> Tensor:
    features: Tensor = model(images)
    return features


def _small_decoded(model: Any, features: Tensor) -> Tensor:
    pictures: Tensor = model.decode(features)
    return pictures


def _one_frame(model: Any, features: Tensor) -> Tensor:
    """Stable Video Diffusion's decoder is told how many of the pictures are one video."""
    decoded: Tensor = model.decode(features, num_frames=1).sample
    return decoded / 2 + 0.5


def _levels(name: str, factor: int = 1) -> Callable[[Any], int]:
    """Each level but the last halves the picture; ``name`` is the configuration's list of them."""
    return lambda config: int(factor * 2 ** (len(config[name]) - 1))


def _named(name: str) -> Callable[[Any], int]:
    """The configuration says it."""
    return lambda config: int(config[name])


def _product(name: str) -> Callable[[Any], int]:
    """The product of the configuration's list of factors."""
    return lambda config: math.prod(config[name])


def _always(family: str) -> Callable[[Any], str]:
    return lambda config: family


def _by_channels(families_by_channels: dict[int, str]) -> Callable[[Any], str]:
    return lambda config: families_by_channels.get(config["latent_channels"], "")


def _halvings_of_wan(config: Any) -> int:
    return int(2 ** (len(config["dim_mult"]) - 1) * (config.get("patch_size") or 1))


def _halvings_of_ltx(config: Any) -> int:
    """Levels that scale, but for those that merge frames alone."""
    scaling, levels = config["spatio_temporal_scaling"], len(config["block_out_channels"])
    each = (scaling,) * levels if isinstance(scaling, bool) else scaling
    ways = config.get("downsample_type") or ("conv",) * levels
    halvings = sum(scales and way != "temporal" for scales, way in zip(each, ways, strict=True))
    return int(config["patch_size"] * 2**halvings)


def _family_of_wan(config: Any) -> str:
    return families.WAN_2_2 if config["z_dim"] == 48 else families.WAN_2_1


_KL = _by_channels({4: families.SD, 16: families.FLUX_1})
_TAESD = _by_channels({4: small(families.SD), 16: small(families.FLUX_1)})
_DOWN = _levels("block_out_channels")
_COMPRESSION = _named("spatial_compression_ratio")

ENCODERS: dict[str, EncoderKind] = {
    "AutoencoderKL": EncoderKind(_mean, _DOWN, _KL),
    "AutoencoderKLFlux2": EncoderKind(
        _packed_mean,
        _levels("block_out_channels", 2),
        _always(families.FLUX_2),
        PACKED,
        _unpacked,
    ),
    "AutoencoderKLQwenImage": _video(_halvings_of_wan, families.WAN_2_1),
    "AutoencoderKLQwenImage21": _video(_halvings_of_wan, "Qwen-Image 2.1's"),
    "AutoencoderKLWan": _video(_halvings_of_wan, _family_of_wan),
    "AutoencoderKLHunyuanImage": EncoderKind(_mean, _COMPRESSION, _always("HunyuanImage 2.1's")),
    "AutoencoderKLHunyuanImageRefiner": _video(_COMPRESSION, "HunyuanImage 2.1's refiner's"),
    "AutoencoderDC": EncoderKind(
        _latent, _levels("encoder_block_out_channels"), _always(families.SANA), LATENTS
    ),
    "AutoencoderTiny": EncoderKind(
        _latents, _levels("encoder_block_out_channels"), _TAESD, LATENTS
    ),
    "SmallEncoder": EncoderKind(
        _small,
        lambda config: config.multiple,
        lambda config: config.family,
        LATENTS,
        _small_decoded,
    ),
    "VQModel": EncoderKind(_latents, _DOWN, _always(""), UNQUANTISED),
    "AsymmetricAutoencoderKL": EncoderKind(
        _mean, _levels("down_block_out_channels"), _always(families.SD)
    ),
    "ConsistencyDecoderVAE": EncoderKind(
        _mean, _levels("encoder_block_out_channels"), _always(families.SD), decode=None
    ),
    "AutoencoderKLTemporalDecoder": EncoderKind(
        _mean, _DOWN, _always("Stable Video Diffusion's"), decode=_one_frame
    ),
    "AutoencoderKLKVAE": EncoderKind(_mean, _levels("ch_mult"), _always("Kandinsky's")),
    "AutoencoderKLKVAEVideo": _video(_levels("ch_mult"), "Kandinsky's"),
    "Kandinsky6SRVAE": _video(_levels("encoder_block_out_channels"), "Kandinsky 6's upscaler's"),
    "AutoencoderKLCogVideoX": _video(_DOWN, "CogVideoX's"),
    "AutoencoderKLCosmos": _video(_COMPRESSION, "Cosmos 1's"),
    "AutoencoderKLHunyuanVideo": _video(_COMPRESSION, "HunyuanVideo's"),
    "AutoencoderKLHunyuanVideo15": _video(_COMPRESSION, "HunyuanVideo 1.5's"),
    "AutoencoderKLLTXVideo": _video(_halvings_of_ltx, "LTX-Video's", decode=None),
    "AutoencoderKLLTX2Video": _video(_halvings_of_ltx, "LTX-2's", decode=None),
    "AutoencoderKLMagvit": _video(_DOWN, "EasyAnimate's"),
    "AutoencoderKLMiniMaxH3": _video(
        _product("spatial_downsample_factors"),
        "MiniMax H3's",
        decode=None,  # its decoder makes no single frame
    ),
    "AutoencoderKLMochi": _video(_product("spatial_expansions"), "Mochi's"),
}
"""Supported classes, by name: of diffusers, and the small encoders of :mod:`.small_encoders`."""

UNFIT: dict[str, str] = {
    "AutoencoderKLAllegro": "it encodes videos in tiles only",
    "AutoencoderRAE": "it scales every picture to one size first",
    "AutoencoderVidTok": "no image generator is trained on it",
}
"""Classes for pictures or videos that cannot lead a cloak, and why."""


def why_unknown(kind: str) -> str:
    """What is said of a class that is not in :data:`ENCODERS`."""
    if kind in UNFIT:
        return f"a {kind} cannot lead a cloak, since {UNFIT[kind]}"
    return f"it holds a {kind}, but an encoder must be one of {', '.join(ENCODERS)}"
