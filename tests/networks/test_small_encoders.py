"""Small encoders from their files: TAESD, its variants for FLUX.2 and Sana, and TAEHV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from comfy_glaze.networks.encoder_files import load_encoder, load_round_trip
from comfy_glaze.networks.encoders import EncoderError

from ..conftest import smooth_picture
from .small_layouts import (
    Layers,
    decoder_weights,
    features_of,
    taef2,
    taef2_decoder,
    taehv,
    taesana,
    weights_of,
)


def _file(path: Path, weights: dict[str, Tensor], prefix: str = "") -> str:
    save_file({f"{prefix}{key}": value.half() for key, value in weights.items()}, path)
    return str(path)


def _read_back(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.half().float() for key, value in weights.items()}


FAMILIES: dict[str, tuple[Layers, Callable[[Tensor], list[Tensor]], int, int, str]] = {
    "taef2": (taef2(), lambda x: [x], 2, 16, "FLUX.2's small"),
    "taesana": (taesana(), lambda x: [x], 1, 32, "Sana's small"),
    "taew2_1": (taehv(16, 1), lambda x: [x] * 4, 1, 8, "Qwen-Image's or Wan 2.1's small"),
    "taew2_2": (taehv(48, 2), lambda x: [x] * 4, 1, 16, "Wan 2.2's small"),
    "taeltx_2": (taehv(128, 4, (2, 2, 2)), lambda x: [x] * 8, 1, 32, "LTX-2's small"),
    "taeh3": (
        taehv(24, 2),
        lambda x: [torch.zeros_like(x)] * 3 + [x],
        1,
        16,
        "MiniMax H3's small",
    ),
}
"""Layers, a picture's frames, packing, multiple, and whose each is."""


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("prefix", ["", "encoder.", "taesd_encoder."])
def test_features_are_those_of_the_layout(name: str, prefix: str, tmp_path: Path) -> None:
    layers, frames_of, packs, multiple, family = FAMILIES[name]
    weights = weights_of(layers)
    encoder = load_encoder(_file(tmp_path / f"{name}.safetensors", weights, prefix))
    assert (encoder.multiple, encoder.family) == (multiple, family)
    picture = smooth_picture(64, 96, batch=2).requires_grad_()
    found = encoder(picture)
    patch = round((layers[0][1] / 3) ** 0.5)
    wanted = torch.cat(
        [
            F.pixel_unshuffle(
                features_of(
                    layers, _read_back(weights), frames_of(F.pixel_unshuffle(one[None], patch))
                ),
                packs,
            )
            for one in picture.detach()
        ]
    )
    assert found.shape == wanted.shape
    assert float((found.detach() - wanted).norm() / wanted.norm()) <= 1e-4
    found.square().sum().backward()
    assert picture.grad is not None
    assert bool(picture.grad.isfinite().all())
    assert bool(picture.grad.flatten(1).any(dim=1).all())


def test_a_whole_file_and_its_encoder_half_are_one_encoder(tmp_path: Path) -> None:
    half = weights_of(taef2())
    whole = {f"encoder.{key}": value for key, value in half.items()}
    whole |= {f"decoder.{key}": value for key, value in decoder_weights(32).items()}
    names = (
        _file(tmp_path / "taef2.safetensors", whole),
        _file(tmp_path / "half.safetensors", half),
    )
    one, two = map(load_encoder, names)
    picture = smooth_picture(48, 64)
    assert one.fingerprint == two.fingerprint
    assert torch.equal(one(picture), two(picture))
    assert one(picture).shape == (1, 128, 3, 4)


def test_a_small_decoder_makes_pictures_of_packed_features(tmp_path: Path) -> None:
    layers, decoder = taef2(), taef2_decoder()
    halves = {"encoder": weights_of(layers), "decoder": weights_of(decoder, seed=1)}
    halves["decoder"]["19.weight"] *= 0.05  # so that nothing leaves [0, 1]
    halves["decoder"]["19.bias"] = torch.full((3,), 0.5)
    whole = {f"{half}.{key}": one for half, own in halves.items() for key, one in own.items()}
    encoder = load_encoder(_file(tmp_path / "taef2.safetensors", whole))
    picture = smooth_picture(48, 64)
    latents = features_of(layers, _read_back(halves["encoder"]), [picture])
    clamped = torch.tanh(latents / 3) * 3
    wanted = features_of(decoder, _read_back(halves["decoder"]), [clamped])
    assert wanted.shape == picture.shape
    assert torch.allclose(encoder.decoded(picture), wanted.clamp(0, 1), atol=1e-4)
    assert float(wanted.clamp(0, 1).std()) > 0.01


@pytest.mark.parametrize("prefix", ["", "decoder.", "taesd_decoder.", "decoder.layers."])
def test_a_decoder_alone_is_refused_by_its_name(prefix: str, tmp_path: Path) -> None:
    name = _file(tmp_path / "taef2_decoder.safetensors", decoder_weights(), prefix)
    with pytest.raises(EncoderError, match=r"taef2_decoder.safetensors holds a decoder alone"):
        load_encoder(name)


def test_an_encoder_alone_has_no_round_trip(tmp_path: Path) -> None:
    name = _file(tmp_path / "taef2_encoder.safetensors", weights_of(taef2()))
    with pytest.raises(EncoderError, match=r"taef2_encoder.safetensors has no decoder"):
        load_round_trip(name)
