"""Φ: image encoders whose features a cloak moves.

Every encoder is differentiable and deterministic (the latent mean, never a sample), takes pictures
of any size, and carries a fingerprint of its weights, so that a style bank or a report can say
which encoder it belongs to.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files.bundled import content_pictures
from .folding import DownsamplingPair
from .single_file import as_diffusers

EMBEDDED_VERSION = "embedded-1"
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


class EncoderError(ValueError):
    """An encoder that cannot be had, in one sentence."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """Φ, from pictures to features.

    Attributes:
        name: what the user calls it (``embedded-1``, a file's name, a hub id).
        fingerprint: hash of the weights, see :func:`fingerprint_of`.
        features: images (B, 3, H, W) in [0, 1], H and W multiples of ``multiple``, to features
            (B, C, h, w).
        multiple: the side of a pixel block that becomes one feature position.
        device: where ``features`` computes.
        is_rehearsal: true for the embedded encoder, which no image generator uses.
    """

    name: str
    fingerprint: str
    features: Callable[[Tensor], Tensor]
    multiple: int
    device: torch.device
    is_rehearsal: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, C, ⌈H/m⌉, ⌈W/m⌉) of images (B, 3, H, W) in [0, 1].

        Sizes off the multiple are extended by repeating the last row and column, so that every
        pixel has a gradient (a centre crop, as hosts do it, leaves the edges without one).
        """
        bottom, right = (-images.shape[-2]) % self.multiple, (-images.shape[-1]) % self.multiple
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        return self.features(images).float()


def fingerprint_of(weights: Mapping[str, Tensor]) -> str:
    """Sixteen hex digits that name a set of weights.

    Keys, shapes and order do not count, only the float32 values: the same encoder has the same
    fingerprint in diffusers' layout, in the original one, and inside a host.
    """
    digests = sorted(
        hashlib.sha256(w.detach().float().cpu().contiguous().numpy().tobytes()).digest()
        for w in weights.values()
    )
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _kl_mean(model: Any, images: Tensor) -> Tensor:
    mean: Tensor = model.encode(images * 2 - 1).latent_dist.mode()
    return mean


def _latents(model: Any, images: Tensor) -> Tensor:
    # Plain convolutions run half as long again in the default memory format on CPUs.
    images = images.contiguous(memory_format=torch.channels_last)
    latents: Tensor = model.encode(images * 2 - 1).latents
    return latents


ENCODERS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "AutoencoderKL": _kl_mean,
    "AutoencoderTiny": _latents,
    "VQModel": _latents,  # before quantisation, which has no gradient
}
"""Supported diffusers classes, and how each gives its deterministic features."""


def encoder_from_module(model: nn.Module, name: str, device: torch.device) -> Encoder:
    """Take over a diffusers autoencoder: its decoder half is dropped, its weights are frozen."""
    kind = type(model).__name__
    if kind not in ENCODERS:
        raise EncoderError(
            f"{name} is a {kind}, but an encoder must be one of {', '.join(ENCODERS)}."
        )
    for part in ("decoder", "post_quant_conv", "quantize"):
        if hasattr(model, part):
            delattr(model, part)
    nn.Module.to(model, device, torch.float32)  # diffusers' own `to` warns about nothing
    model.eval().requires_grad_(False)
    weights = model.state_dict()
    levels = len(model.config.block_out_channels)  # type: ignore[union-attr, arg-type]
    if kind == "AutoencoderTiny":
        layers: Any = model.encoder.layers  # type: ignore[union-attr]
        if DownsamplingPair.fits(layers[0], layers[1]):
            layers[0], layers[1] = DownsamplingPair(layers[0], layers[1]), nn.Identity()
    features = partial(ENCODERS[kind], model)
    return Encoder(name, fingerprint_of(weights), features, 2 ** (levels - 1), device)


def combine_encoders(encoders: Sequence[Encoder], weights: Sequence[float]) -> Encoder:
    """One encoder that stands for several, so that a cloak leads all of them at once.

    Its feature distance is the weighted mean of theirs, each divided by the variance of that
    encoder's features over the pictures that ship with the package, since the scales of latent
    spaces differ by far:

        d(a, b) = Σᵢ wᵢ dᵢ(a, b) / σᵢ²,   Σᵢ wᵢ = 1

    All features come to one grid, the coarsest, where each position of it holds all positions of a
    finer one as channels; so nothing is resampled, and the means over positions that make a style
    bank's centroids keep their meaning.  Each member's elements are scaled by
    √(wᵢ N / Nᵢ) / σᵢ, where Nᵢ of the N channels are its own.

    Args:
        encoders: one or more, on one device.
        weights: one above 0 for each; only their ratios count.

    Raises:
        EncoderError: no encoder, a weight that is not above 0, or encoders on several devices.
    """
    if not encoders or len(encoders) != len(weights) or not all(w > 0 for w in weights):
        raise EncoderError(
            f"Expected encoders with a weight above 0 each, but got {len(encoders)} encoders and "
            f"the weights {', '.join(f'{w:g}' for w in weights) or 'none'}."
        )
    if len({encoder.device for encoder in encoders}) > 1:
        raise EncoderError(
            "Encoders can only be combined on one device, but they are on "
            f"{', '.join(str(encoder.device) for encoder in encoders)}."
        )
    multiple = math.lcm(*(encoder.multiple for encoder in encoders))
    shares = [weight / sum(weights) for weight in weights]
    spreads = [_spread(encoder) for encoder in encoders]

    def features(images: Tensor) -> Tensor:
        own = [
            F.pixel_unshuffle(encoder(images), multiple // encoder.multiple) for encoder in encoders
        ]
        channels = sum(one.shape[1] for one in own)
        return torch.cat(
            [
                one * (math.sqrt(share * channels / one.shape[1]) / spread)
                for one, share, spread in zip(own, shares, spreads, strict=True)
            ],
            dim=1,
        )

    parts = [
        f"{encoder.fingerprint} {share:.6g}"
        for encoder, share in zip(encoders, shares, strict=True)
    ]
    return Encoder(
        name=" + ".join(encoder.name for encoder in encoders),
        fingerprint=hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16],
        features=features,
        multiple=multiple,
        device=encoders[0].device,
        is_rehearsal=all(encoder.is_rehearsal for encoder in encoders),
    )


@torch.no_grad()
def _spread(encoder: Encoder) -> float:
    """The standard deviation of an encoder's features over the pictures of the package."""
    pictures = (picture.to(encoder.device) for picture in content_pictures())
    deviation = torch.cat([encoder(picture).flatten() for picture in pictures]).std()
    return float(deviation.clamp_min(1e-12))


@torch.inference_mode(False)  # weights made in inference mode could never give a gradient
def load_encoder(name: str, device: torch.device | str = "cpu") -> Encoder:
    """Load Φ by name.

    Args:
        name: ``embedded``; a folder in diffusers' layout (a VAE, or a pipeline with a ``vae``
            subfolder); a single .safetensors file (a VAE, a whole checkpoint, or a TAESD-family
            encoder); or a hub id, ``owner/model``.

    Raises:
        EncoderError: the name leads nowhere, or what is there is not a supported autoencoder.
    """
    module, label = _load_module(name)
    encoder = encoder_from_module(module, label, torch.device(device))
    return replace(encoder, is_rehearsal=True) if name == "embedded" else encoder


@torch.inference_mode(False)
def load_round_trip(name: str, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """A VAE's encoder and decoder in sequence: images (B, 3, H, W) in [0, 1] to images.

    Args:
        name: as for :func:`load_encoder`; both halves must be there.

    Raises:
        EncoderError: the name leads nowhere, or to an encoder alone.
    """
    module, label = _load_module(name)
    if not hasattr(module, "decoder"):
        raise EncoderError(
            f"A round trip needs a VAE with both halves, but {label} has no decoder."
        )
    whole = nn.Module.to(copy.deepcopy(module), device, torch.float32)
    decode: Any = whole.requires_grad_(False).eval().decode
    encoder = encoder_from_module(module, label, torch.device(device))

    def round_trip(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        decoded: Tensor = decode(encoder(images)).sample
        return (decoded / 2 + 0.5)[..., :height, :width]

    return round_trip


def _load_module(name: str) -> tuple[nn.Module, str]:
    """The autoencoder that a user names, and what to call it."""
    path = Path(name).expanduser()
    if name == "embedded":
        return embedded_autoencoder(), EMBEDDED_VERSION
    if path.is_dir():
        return _from_diffusers(str(path), local=True), path.name
    if path.is_file():
        return _from_file(path), path.name
    if path.suffix or len(path.parts) != 2:
        raise EncoderError(
            f"Expected an encoder (embedded, a folder, a .safetensors file or a hub id), "
            f"but there is no {name}."
        )
    return _from_diffusers(name, local=False), name


def _read_weights(path: Path) -> dict[str, Tensor]:
    """A .safetensors file's tensors; any other kind of file is refused unread."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise EncoderError(
            f"Expected weights as .safetensors, but got {path.name}; "
            "other formats can run code when they are read."
        )
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"{path.name} is not a readable .safetensors file: {error}.") from error


def _build(config: Mapping[str, Any], weights: Mapping[str, Tensor], source: str) -> nn.Module:
    """A diffusers model of the config's class, with exactly these weights."""
    import diffusers

    try:
        model: nn.Module = getattr(diffusers, config["_class_name"]).from_config(dict(config))
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise EncoderError(f"The weights in {source} are not those of a picture VAE.") from error
    wrong = [key for key in missing if key.startswith(("encoder.", "quant_conv."))] + unexpected
    if wrong:
        raise EncoderError(
            f"The weights in {source} do not fit a {type(model).__name__}: {wrong[0]} and "
            f"{len(wrong) - 1} more keys are missing or unknown."
        )
    if any(key.startswith("decoder.") for key in missing):
        del model.decoder  # an encoder alone: better no decoder than one of random weights
    return model


def embedded_autoencoder() -> nn.Module:
    """The embedded autoencoder, both halves, as diffusers' ``AutoencoderTiny``."""
    config = json.loads((EMBEDDED_FOLDER / f"{EMBEDDED_VERSION}.json").read_text("utf-8"))
    weights = _read_weights(EMBEDDED_FOLDER / f"{EMBEDDED_VERSION}.safetensors")
    return _build(config, weights, EMBEDDED_VERSION)


def _from_file(path: Path) -> nn.Module:
    weights = _read_weights(path)
    try:
        found = as_diffusers(weights)
    except (KeyError, IndexError) as error:
        raise EncoderError(f"The weights in {path.name} are not those of a picture VAE.") from error
    if found is None:
        raise EncoderError(f"{path.name} holds no autoencoder of a known layout (KL or TAESD).")
    return _build(*found, path.name)


def _from_diffusers(source: str, local: bool) -> nn.Module:
    """A VAE in diffusers' layout, from a folder or the hub: alone, or a pipeline's ``vae``."""
    import diffusers

    problems: list[str] = []
    for subfolder in ("vae", ""):
        place = {"subfolder": subfolder, "local_files_only": local}
        try:
            config = diffusers.AutoencoderKL.load_config(source, **place)
        except (OSError, ValueError) as error:
            problems.append(_first_line(error))
            continue
        kind = config.get("_class_name") if isinstance(config, dict) else None
        if kind not in ENCODERS:
            found = f"it holds a {kind}, but an encoder must be one of {', '.join(ENCODERS)}"
            problems.insert(0, found)
            continue
        for variant in (None, "fp16"):
            try:
                model: nn.Module = getattr(diffusers, kind).from_pretrained(
                    source, **place, variant=variant, use_safetensors=True
                )
                return model
            except (OSError, ValueError, RuntimeError, TypeError) as error:
                problems.append(_first_line(error))
        del problems[:-2]  # a config was found: what its weights lack is what counts
        break
    raise EncoderError(f"No encoder could be loaded from {source}: {problems[0]}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
