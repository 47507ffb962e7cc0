"""Every class of diffusers that can lead a cloak, tiny and with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.measures import feature_distance
from comfy_glaze.networks.encoder_files import load_encoder, load_round_trip
from comfy_glaze.networks.encoders import EncoderError
from comfy_glaze.networks.kinds import ENCODERS, UNFIT

from ..conftest import smooth_picture
from .tiny_models import TINY, VIDEO

CLASSES = [name for name in ENCODERS if name != "SmallEncoder"]
OTHERS = ("Audio", "Music", "Oobleck", "Protein", "Codec", "Vocoder", "SAME")  # no pictures


def tiny_model(name: str) -> Any:
    """A model, or a skip where the installed diffusers is older than its class."""
    kind = getattr(diffusers, name, None)
    if kind is None:
        pytest.skip(f"this diffusers has no {name}")
    torch.manual_seed(0)
    model = kind(**TINY[name]).eval()
    if hasattr(model, "bn"):
        model.bn.running_mean.normal_()
        model.bn.running_var.uniform_(0.5, 2.0)
    return model


@torch.no_grad()
def encoded(model: Any, images: Tensor) -> Tensor:
    """What the class's own ``encode`` gives, as its pipelines use it."""
    name, pixels = type(model).__name__, images * 2 - 1
    if model.config.get("in_channels") == 4:  # opaque
        pixels = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
    output = model.encode(pixels[:, :, None] if name in VIDEO else pixels)
    if name == "AutoencoderKLFlux2":
        pipeline = diffusers.Flux2Pipeline
        packed = pipeline._patchify_latents(output.latent_dist.mode())
        mean, variance = (
            value.view(1, -1, 1, 1) for value in (model.bn.running_mean, model.bn.running_var)
        )
        return (packed - mean) / torch.sqrt(variance + model.config.batch_norm_eps)
    if hasattr(output, "latent_dist"):
        mean = output.latent_dist.mode()
        return mean[:, :, 0] if name in VIDEO else mean
    latents: Tensor = output.latent if hasattr(output, "latent") else output.latents
    return latents


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_gives_what_it_encodes_and_leads(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    model.save_pretrained(tmp_path)
    picture = smooth_picture(64, 96)
    wanted = encoded(model, picture)
    encoder = load_encoder(str(tmp_path))
    found = encoder(picture)
    assert found.shape == wanted.shape
    assert found.shape[-2:] == (64 // encoder.multiple, 96 // encoder.multiple)
    assert float((found - wanted).norm() / wanted.norm()) <= 1e-4
    pixels = picture
    distances = [0.0]
    for _ in range(2):
        variable = pixels.clone().requires_grad_()
        shifted = wanted - 0.01 * wanted.abs().mean()
        distance = feature_distance(encoder(variable), shifted)
        (gradient,) = torch.autograd.grad(distance.sum(), variable)
        assert bool(gradient.isfinite().all())
        assert bool(gradient.any())
        pixels = pixels + 1e-4 * gradient.sign()  # Mochi's is at odds with larger steps
        distances.append(float(feature_distance(encoder(pixels), wanted).sum()))
    assert distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("name", ["AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderKLWan"])
def test_a_round_trip_is_the_classes_own(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    model.save_pretrained(tmp_path)
    picture = smooth_picture(32, 48)
    pixels = picture * 2 - 1
    with torch.no_grad():
        latents = model.encode(pixels[:, :, None] if name.endswith("Wan") else pixels).latent_dist
        decoded = model.decode(latents.mode()).sample
    decoded = decoded[:, :, 0] if decoded.ndim == 5 else decoded
    found = load_round_trip(str(tmp_path))(picture)
    assert torch.allclose(found, decoded / 2 + 0.5, atol=1e-4)


WITHOUT = {
    "ConsistencyDecoderVAE",
    "AutoencoderKLLTXVideo",
    "AutoencoderKLLTX2Video",
    "AutoencoderKLMiniMaxH3",
}
"""Classes whose decoders draw by chance, or want to know a time step."""


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_decodes_what_it_encodes_and_keeps_its_features(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    model.save_pretrained(tmp_path)
    encoder, picture = load_encoder(str(tmp_path)), smooth_picture(64, 96)
    features = encoder(picture)
    if name in WITHOUT:
        assert encoder.decode is None
        return
    assert encoder.decode is not None
    found = encoder.decode(features)
    assert found.shape == picture.shape
    with torch.no_grad():
        wanted = decoded(model, encoded(model, picture))[:, :3]  # a fourth is what is opaque
    assert torch.allclose(found, (wanted / 2 + 0.5).clamp(0, 1), atol=1e-3)
    assert torch.equal(encoder(picture), features)


def decoded(model: Any, latents: Tensor) -> Tensor:
    """What the class's own ``decode`` makes of :func:`encoded`, in [-1, 1]."""
    name = type(model).__name__
    if name == "AutoencoderKLFlux2":
        mean, variance = (
            value.view(1, -1, 1, 1) for value in (model.bn.running_mean, model.bn.running_var)
        )
        packed = latents * torch.sqrt(variance + model.config.batch_norm_eps) + mean
        latents = diffusers.Flux2Pipeline._unpatchify_latents(packed)
    if name in VIDEO:
        pictures: Tensor = model.decode(latents[:, :, None]).sample
        return pictures[:, :, 0]
    only = {"num_frames": 1} if name == "AutoencoderKLTemporalDecoder" else {}
    pictures = model.decode(latents, **only).sample
    return pictures


def test_pictures_of_four_channels_are_opaque(tmp_path: Path) -> None:
    """As Qwen-Image-Layered takes them."""
    torch.manual_seed(0)
    kind = diffusers.AutoencoderKLQwenImage
    model = kind(**TINY["AutoencoderKLQwenImage"], input_channels=4).eval()
    model.save_pretrained(tmp_path)
    picture = smooth_picture(32, 48)
    opaque = torch.cat([picture, torch.ones_like(picture[:, :1])], dim=1) * 2 - 1
    with torch.no_grad():
        wanted = model.encode(opaque[:, :, None]).latent_dist.mode()[:, :, 0]
    assert torch.allclose(load_encoder(str(tmp_path))(picture), wanted, atol=1e-5)


@pytest.mark.parametrize("name", UNFIT)
def test_a_class_that_cannot_lead_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": name}), encoding="utf-8")
    with pytest.raises(EncoderError, match=f"a {name} cannot lead a cloak, since {UNFIT[name]}"):
        load_encoder(str(tmp_path))


def test_no_class_of_the_installed_diffusers_is_forgotten() -> None:
    models = diffusers.models.autoencoders
    known = {*ENCODERS, *UNFIT}
    for name in dir(models):
        kind = getattr(models, name)
        if isinstance(kind, type) and hasattr(kind, "encode") and name not in known:
            assert any(word in name for word in OTHERS), f"{name} is neither supported nor refused"


def test_a_file_beside_its_configuration_is_read_with_it(tmp_path: Path) -> None:
    model = tiny_model("AutoencoderKLHunyuanImage")
    model.save_pretrained(tmp_path)
    folder = load_encoder(str(tmp_path))
    file = load_encoder(str(tmp_path / "diffusion_pytorch_model.safetensors"))
    assert file.fingerprint == folder.fingerprint
    picture = smooth_picture(32, 32)
    assert torch.equal(file(picture), folder(picture))


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_weights_in_several_files_are_read_as_one(
    variant: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Alone, as a pipeline's ``vae``, and by the name of one of the files."""
    model, alone, pipeline = tiny_model("AutoencoderKL"), tmp_path / "alone", tmp_path / "pipeline"
    whole = tmp_path / "whole"
    model.save_pretrained(whole)
    for folder in (alone, pipeline / "vae"):
        model.save_pretrained(folder, max_shard_size="200KB", variant=variant)
    files = sorted(alone.glob("diffusion_pytorch_model*"))
    assert len(files) > 3
    capfd.readouterr()
    wanted = load_encoder(str(whole)).fingerprint
    for name in (alone, pipeline, files[0], alone / files[-1]):
        assert load_encoder(str(name)).fingerprint == wanted
    assert "shards" not in "".join(capfd.readouterr())
    files[0].unlink()
    with pytest.raises(EncoderError, match="No encoder could be loaded"):
        load_encoder(str(alone))
