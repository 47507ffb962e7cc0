"""Encoders by name: the embedded one, folders and files on disk, and the hub."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import first_line
from ..optional import PackageError, broken, import_part, package_at_fault
from .encoders import Encoder, EncoderError, encoder_from_module
from .kinds import ENCODERS, why_unknown
from .single_file import DECODER_HALF, find_encoder, without_decoder

EMBEDDED_VERSION = "embedded-1"


_NO_VAE = (
    "The weights in {} are not those of a picture VAE whose sizes a file tells by itself; one in "
    "diffusers' layout can be named by its folder, which says what it is"
)

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


@torch.inference_mode(False)  # weights made in inference mode could never give a gradient
def load_encoder(name: str, device: torch.device | str = "cpu") -> Encoder:
    """Load Φ by name.

    Args:
        name: ``embedded``; a folder in diffusers' layout (a VAE, or a pipeline with a ``vae``
            subfolder); a single .safetensors file (a VAE, a whole checkpoint, or a small encoder of
            the TAESD or TAEHV family); or a hub id, ``owner/model``.

    Raises:
        EncoderError: the name leads nowhere, or what is there is not a supported autoencoder.
    """
    module, label = _load_module(name)
    encoder = encoder_from_module(module, label, torch.device(device))
    if name == "embedded":  # what it decodes no generator would see
        return replace(encoder, is_rehearsal=True, family="", decode=None)
    return encoder


@torch.inference_mode(False)
def load_round_trip(name: str, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """A VAE's encoder and decoder in sequence: images (B, 3, H, W) in [0, 1] to images.

    Images on another device are moved there, and what becomes of them is moved back.

    Args:
        name: as for :func:`load_encoder`; both halves must be there.

    Raises:
        EncoderError: the name leads nowhere, or to an encoder alone.
    """
    module, label = _load_module(name)
    kind = ENCODERS.get(type(module).__name__)
    if kind is None or kind.decode is None or not hasattr(module, "decoder"):
        raise EncoderError(
            f"A round trip needs a VAE with both halves, but {label} has no decoder."
        )
    whole = nn.Module.to(copy.deepcopy(module), device, torch.float32)
    whole.requires_grad_(False).eval()
    decode = partial(kind.decode, whole)
    encoder = replace(encoder_from_module(module, label, torch.device(device)), decode=None)

    def round_trip(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        decoded = decode(encoder(images.to(encoder.device)))
        return decoded[..., :height, :width].to(images.device)

    return round_trip


def _load_module(name: str) -> tuple[nn.Module, str]:
    """The autoencoder that a user names, and what to call it."""
    path = Path(os.path.expanduser(name))  # which leaves users that there are not as they are
    if name == "embedded":
        return embedded_autoencoder(), EMBEDDED_VERSION
    if os.path.isdir(path):
        return _from_diffusers(str(path), local=True), path.name
    if os.path.isfile(path):
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
    kind = _autoencoder(config["_class_name"])
    if any(one.numel() > 1 and not one.is_floating_point() for one in weights.values()):
        raise EncoderError(
            f"{source} holds weights as whole numbers, packed in a way that the file does not "
            "tell; name the file that they were made from."
        )
    try:
        model: nn.Module = kind.from_config(dict(config))
        fitting = weights if _decodes(model, weights) else without_decoder(weights)
        missing, unexpected = model.load_state_dict(fitting, strict=False)
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        if culprit := package_at_fault(error):  # diffusers imports some packages only now
            why = f"{culprit}, which is {broken(error, culprit)}; comfy-glaze doctor says more"
            raise EncoderError(f"{config['_class_name']} needs {why}.") from error
        raise EncoderError(f"{_NO_VAE.format(source)}.") from error
    return _with_all_weights(model, missing, unexpected, source)


def _with_all_weights(
    model: nn.Module, missing: Sequence[str], unexpected: Sequence[str], source: str
) -> nn.Module:
    """A model that was given its weights, without its decoder if some of that half's are missing.

    Raises:
        EncoderError: the encoder half lacks some, or there were others.
    """
    ours = ("encoder.", "quant_conv.", "bn.running_")
    wrong = [key for key in missing if key.startswith(ours)] + list(unexpected)
    if wrong:
        raise EncoderError(
            f"The weights in {source} do not fit a {type(model).__name__}: {wrong[0]} and "
            f"{len(wrong) - 1} more keys are missing or unknown."
        )
    if any(key.startswith("decoder.") for key in missing):
        del model.decoder  # an encoder alone: better no decoder than one of random weights
    return model


def _decodes(model: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Whether the weights hold a decoder half that fits the model's."""
    own, given = (
        {key: one.shape for key, one in found.items() if key.startswith(DECODER_HALF)}
        for found in (model.state_dict(), weights)
    )
    return own == given


def embedded_autoencoder() -> nn.Module:
    """The embedded autoencoder, both halves, as diffusers' ``AutoencoderTiny``."""
    config = json.loads((EMBEDDED_FOLDER / f"{EMBEDDED_VERSION}.json").read_text("utf-8"))
    weights = _read_weights(EMBEDDED_FOLDER / f"{EMBEDDED_VERSION}.safetensors")
    return _build(config, weights, EMBEDDED_VERSION)


def _from_file(path: Path) -> nn.Module:
    if _is_of_diffusers(path):
        return _from_diffusers(str(path.parent), local=True)
    weights = _read_weights(path)
    try:
        found = find_encoder(weights)
    except Exception as error:  # other networks' files trip it in ways of their own
        raise EncoderError(f"{_NO_VAE.format(path.name)}.") from error
    if isinstance(found, str):
        raise EncoderError(f"{path.name} {found}.")
    if isinstance(found, nn.Module):
        return found
    return _build(*found, path.name)


def _is_of_diffusers(path: Path) -> bool:
    """Whether a file lies in its folder as diffusers puts it there, beside what describes it.

    It may have all of the weights, a part of them, or the list of the parts.
    """
    return (
        path.name.startswith("diffusion_pytorch_model")
        and path.suffix in (".safetensors", ".json")
        and path.with_name("config.json").exists()
    )


def _from_diffusers(source: str, local: bool) -> nn.Module:
    """A VAE in diffusers' layout, from a folder or the hub: alone, or a pipeline's ``vae``."""
    problems: list[str] = []
    layout = _autoencoder("AutoencoderKL")  # reads the config of any
    # of a folder without "vae" diffusers would find the configuration, but not weights in parts
    alone = local and not os.path.isdir(os.path.join(source, "vae"))
    for subfolder in ("",) if alone else ("vae", ""):
        place = {"subfolder": subfolder, "local_files_only": local}
        try:
            config = layout.load_config(source, **place)
        except Exception as error:  # files that are no configuration fail in ways of their own
            problems.append(first_line(error))
            continue
        kind = config.get("_class_name") if isinstance(config, dict) else None
        if not isinstance(kind, str):
            problems.insert(0, "its config.json names no class of diffusers")
            continue
        if kind not in ENCODERS:
            problems.insert(0, why_unknown(kind))
            continue
        autoencoder = _autoencoder(kind)
        for variant in (None, "fp16"):
            try:
                with _quietly():
                    model, found = autoencoder.from_pretrained(
                        source,
                        **place,
                        variant=variant,
                        use_safetensors=True,
                        output_loading_info=True,
                    )
            except Exception as error:  # each kind has ways of its own to dislike a configuration
                problems.append(first_line(error))
                continue
            return _with_all_weights(model, found["missing_keys"], (), source)
        del problems[:-2]  # a config was found: what its weights lack is what counts
        break
    raise EncoderError(f"No encoder could be loaded from {source}: {problems[0]}.")


def _autoencoder(kind: str) -> Any:
    """A class of diffusers."""
    try:
        return import_part("diffusers", kind)
    except PackageError as error:
        raise EncoderError(f"{kind} needs {error}.") from error
    except AttributeError as error:
        raise EncoderError(f"The installed diffusers has no {kind}; a newer one may.") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without diffusers' own lines about files that it tries in turn (errors say what counts), and
    without its bar for the parts of one."""
    from diffusers.utils import logging

    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
