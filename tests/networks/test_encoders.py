from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from comfy_glaze.cloaking.measures import feature_distance
from comfy_glaze.files.bundled import STYLES_FOLDER, content_pictures
from comfy_glaze.networks.encoder_files import (
    EMBEDDED_VERSION,
    embedded_autoencoder,
    load_encoder,
)
from comfy_glaze.networks.encoders import Encoder, EncoderError, fingerprint_of
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.styles.bank_file import load_style_bank

from ..conftest import smooth_picture


def tiny_kl() -> diffusers.AutoencoderKL:
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
    )


def tiny_vq() -> diffusers.VQModel:
    torch.manual_seed(0)
    return diffusers.VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )


def tiny_taesd() -> diffusers.AutoencoderTiny:
    torch.manual_seed(0)
    return diffusers.AutoencoderTiny(
        encoder_block_out_channels=(16,) * 4,
        decoder_block_out_channels=(16,) * 4,
        num_encoder_blocks=(1, 3, 3, 3),
        num_decoder_blocks=(1, 1, 1, 1),
    )


def kl_in_original_layout(model: diffusers.AutoencoderKL) -> dict[str, torch.Tensor]:
    """The same weights under the names that checkpoints of the original code have."""
    original = {}
    for key, value in model.state_dict().items():
        for ours, theirs in (
            ("mid_block.resnets.0.", "mid.block_1."),
            ("mid_block.resnets.1.", "mid.block_2."),
            ("mid_block.attentions.0.group_norm.", "mid.attn_1.norm."),
            ("mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out."),
            ("mid_block.attentions.0.to_", "mid.attn_1."),
            ("encoder.down_blocks.", "encoder.down."),
            ("decoder.up_blocks.0.", "decoder.up.1."),
            ("decoder.up_blocks.1.", "decoder.up.0."),
            (".downsamplers.0.conv.", ".downsample.conv."),
            (".upsamplers.0.conv.", ".upsample.conv."),
            (".conv_shortcut.", ".nin_shortcut."),
            (".resnets.", ".block."),
            ("conv_norm_out.", "norm_out."),
        ):
            key = key.replace(ours, theirs)
        if ".attn_1." in key and value.ndim == 2:
            value = value[:, :, None, None]
        original[key] = value.contiguous()
    return original


def kl_folder(path: Path) -> str:
    tiny_kl().save_pretrained(path / "my_vae")
    return str(path / "my_vae")


def kl_pipeline_folder(path: Path) -> str:
    tiny_kl().save_pretrained(path / "pipe" / "vae")
    return str(path / "pipe")


def kl_fp16_variant(path: Path) -> str:
    tiny_kl().save_pretrained(path / "half", variant="fp16")
    return str(path / "half")


def kl_single_file(path: Path) -> str:
    save_file(tiny_kl().state_dict(), path / "vae.safetensors")
    return str(path / "vae.safetensors")


def kl_original_file(path: Path) -> str:
    save_file(kl_in_original_layout(tiny_kl()), path / "vae-original.safetensors")
    return str(path / "vae-original.safetensors")


def kl_checkpoint(path: Path) -> str:
    weights = {
        f"first_stage_model.{key}": value for key, value in kl_in_original_layout(tiny_kl()).items()
    }
    weights["model.diffusion_model.out.weight"] = torch.zeros(3)
    save_file(weights, path / "checkpoint.safetensors")
    return str(path / "checkpoint.safetensors")


def vq_folder(path: Path) -> str:
    tiny_vq().save_pretrained(path / "vq")
    return str(path / "vq")


def taesd_folder(path: Path) -> str:
    tiny_taesd().save_pretrained(path / "tiny")
    return str(path / "tiny")


def taesd_file(path: Path) -> str:
    weights = tiny_taesd().encoder.layers.state_dict()
    save_file(weights, path / "taesd_encoder.safetensors")
    return str(path / "taesd_encoder.safetensors")


def taesd_combined_file(path: Path) -> str:
    model = tiny_taesd()
    weights = {f"taesd_encoder.{k}": v for k, v in model.encoder.layers.state_dict().items()}
    for key, value in model.decoder.layers.state_dict().items():
        number, _, rest = key.partition(".")  # its first layer has no weights there
        weights[f"taesd_decoder.{int(number) + 1}.{rest}"] = value
    save_file(weights, path / "taesd.safetensors")
    return str(path / "taesd.safetensors")


KL = (kl_folder, kl_pipeline_folder, kl_fp16_variant, kl_single_file, kl_original_file)
KL_SOURCES = (*KL, kl_checkpoint)
TINY_SOURCES = (taesd_folder, taesd_file, taesd_combined_file)


def mean_of(model: diffusers.ModelMixin, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        encoded = model.encode(images * 2 - 1)
    latents: torch.Tensor = (
        encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
    )
    return latents


@pytest.mark.parametrize(
    ("source", "model"),
    [(source, tiny_kl) for source in KL_SOURCES]
    + [(source, tiny_taesd) for source in TINY_SOURCES]
    + [(vq_folder, tiny_vq)],
)
def test_features_are_the_models_latent_mean(
    source: Callable[[Path], str], model: Callable[[], diffusers.ModelMixin], tmp_path: Path
) -> None:
    encoder = load_encoder(source(tmp_path))
    images = smooth_picture(32, 48, batch=2)
    features = encoder(images)
    assert torch.allclose(features, mean_of(model().eval(), images), atol=1e-5)
    assert torch.equal(features, encoder(images))


@pytest.mark.parametrize(
    ("source", "model"),
    [(source, tiny_kl) for source in KL_SOURCES]
    + [(source, tiny_taesd) for source in (taesd_folder, taesd_combined_file)],
)
def test_pictures_are_decoded_by_the_models_own_decoder(
    source: Callable[[Path], str], model: Callable[[], diffusers.ModelMixin], tmp_path: Path
) -> None:
    encoder = load_encoder(source(tmp_path))
    images, whole = smooth_picture(32, 48, batch=2), model().eval()
    with torch.no_grad():
        wanted = whole.decode(mean_of(whole, images)).sample / 2 + 0.5
    assert torch.allclose(encoder.decoded(images), wanted.clamp(0, 1), atol=1e-4)
    odd = encoder.decoded(images[..., :29, :45])
    assert odd.shape == (2, 3, 29, 45)


def _taesd_with_a_decoder_of_another_kind(path: Path) -> str:
    weights = tiny_taesd().encoder.layers.state_dict()
    weights = {f"taesd_encoder.{key}": value for key, value in weights.items()}
    weights |= {f"taesd_decoder.{n}.weight": torch.ones(16, 4, 3, 3) for n in (1, 2)}
    save_file(weights, path / "taesd.safetensors")
    return str(path / "taesd.safetensors")


def _kl_with_half_a_decoder(path: Path) -> str:
    weights = tiny_kl().state_dict()
    del weights["decoder.conv_out.weight"]
    save_file(weights, path / "vae.safetensors")
    return str(path / "vae.safetensors")


@pytest.mark.parametrize(
    "source",
    [
        lambda path: "embedded",
        taesd_file,
        _taesd_with_a_decoder_of_another_kind,
        _kl_with_half_a_decoder,
    ],
)
def test_without_a_whole_decoder_of_a_known_layout_nothing_is_decoded(
    source: Callable[[Path], str], tmp_path: Path
) -> None:
    encoder = load_encoder(source(tmp_path))
    assert encoder.decode is None
    with pytest.raises(EncoderError, match="is an encoder alone"):
        encoder.decoded(smooth_picture(32, 32))


def test_the_decoder_is_on_no_device_while_nothing_is_decoded(tmp_path: Path) -> None:
    encoder = load_encoder(kl_folder(tmp_path))
    model = encoder.features.args[0]  # type: ignore[attr-defined]
    before = sum(one.numel() for one in model.parameters())
    encoder.decoded(smooth_picture(32, 32))
    assert not [key for key in model.state_dict() if key.startswith(("decoder", "post_quant"))]
    assert sum(one.numel() for one in model.parameters()) == before


@pytest.mark.parametrize("sources", [KL_SOURCES, TINY_SOURCES])
def test_fingerprint_is_the_same_in_every_layout(
    sources: tuple[Callable[[Path], str], ...], tmp_path: Path
) -> None:
    assert len({load_encoder(source(tmp_path)).fingerprint for source in sources}) == 1


NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "embedded": embedded_autoencoder,
    "KL": tiny_kl,
    "VQ": tiny_vq,
    "TAESD": tiny_taesd,
}


def fingerprint_through(network: torch.nn.Module, *dtypes: torch.dtype) -> str:
    """The fingerprint of a copy that was rounded to number formats, one after the other."""
    kept = copy.deepcopy(network)
    for dtype in dtypes:
        kept = torch.nn.Module.to(kept, dtype=dtype)
    return fingerprint_of(kept.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_fingerprint_survives_rounding_to_any_float(name: str) -> None:
    network = NETWORKS[name]()
    first = next(iter(network.parameters()))
    with torch.no_grad():  # what rounds to zero keeps its sign, and what overflows, too
        first.view(-1)[:4] = torch.tensor([1e-30, -1e-30, 1e6, -1e6])
        first.view(-1)[4:6] = torch.tensor([0.0, -0.0])
    half, short, single = torch.float16, torch.bfloat16, torch.float32
    own = fingerprint_of(network.state_dict())
    for dtypes in ((half,), (short,), (half, single), (short, single), (short, half, single)):
        assert fingerprint_through(network, *dtypes) == own


@pytest.mark.parametrize("name", NETWORKS)
def test_fingerprint_changes_with_a_little_training(name: str) -> None:
    network = NETWORKS[name]()
    before = fingerprint_of(network.state_dict())
    adam = torch.optim.Adam(network.encoder.parameters(), lr=1e-5)  # type: ignore[union-attr]
    encoded = network.encode(smooth_picture(32, 32))  # type: ignore[operator]
    features = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
    features.square().mean().backward()
    adam.step()
    assert fingerprint_of(network.state_dict()) != before


def test_fingerprint_changes_with_one_sign_and_with_the_number_of_values() -> None:
    weights = {"a": torch.zeros(3), "b": torch.ones(2, 2)}
    prints = {
        fingerprint_of(weights),
        fingerprint_of(weights | {"b": torch.tensor([[1.0, 1.0], [1.0, -1.0]])}),
        fingerprint_of(weights | {"a": torch.zeros(4)}),
        fingerprint_of(weights | {"c": torch.zeros(3)}),
    }
    assert len(prints) == 4
    assert fingerprint_of(weights) == fingerprint_of({"x": torch.ones(4), "y": torch.zeros(3)})


def test_the_shipped_bank_belongs_to_the_embedded_encoder() -> None:
    load_style_bank(STYLES_FOLDER / f"{EMBEDDED_VERSION}.safetensors").check(
        load_encoder("embedded")
    )


@pytest.mark.parametrize("source", [kl_folder, vq_folder, taesd_file])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (40, 41)])
def test_gradients_reach_every_pixel_and_no_weight(
    source: Callable[[Path], str], size: tuple[int, int], tmp_path: Path
) -> None:
    encoder = load_encoder(source(tmp_path))
    images = smooth_picture(*size).requires_grad_()
    features = encoder(images)
    assert features.shape[-2:] == tuple(-(-side // encoder.multiple) for side in size)
    features.square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=1) > 0).float().mean() > 0.99
    assert (images.grad[..., -1, :] != 0).any()
    assert (images.grad[..., -1] != 0).any()
    model = encoder.features.args[0]  # type: ignore[attr-defined]
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_embedded_encoder_is_a_rehearsal() -> None:
    encoder = load_encoder("embedded")
    assert encoder.is_rehearsal
    assert encoder.multiple == 8
    assert encoder(smooth_picture(64, 64)).isfinite().all()
    assert not load_encoder_named("vae.safetensors").is_rehearsal


def load_encoder_named(name: str) -> Encoder:
    return Encoder(name, "0" * 16, lambda x: x, 8, torch.device("cpu"))


# --- several encoders at once ---------------------------------------------------------------------


def averages(side: int, gain: float, device: str = "cpu") -> Encoder:
    """Features: the colours of blocks of ``side`` pixels, times ``gain``."""
    return Encoder(
        f"blocks of {side}",
        f"{side:015x}{int(gain) % 16:x}",
        lambda images: gain * torch.nn.functional.avg_pool2d(images, side),
        side,
        torch.device(device),
    )


def test_combined_distance_is_the_weighted_mean_of_the_members_own() -> None:
    fine, coarse = averages(4, 1.0), averages(16, 100.0)
    together = combine_encoders([fine, coarse], [1.0, 3.0])
    a, b = smooth_picture(64, 48), smooth_picture(64, 48, seed=1)
    contents = content_pictures()
    expected = 0.0
    for encoder, share in ((fine, 0.25), (coarse, 0.75)):
        spread = torch.cat([encoder(picture).flatten() for picture in contents]).std()
        expected += share * float(feature_distance(encoder(a), encoder(b)) / spread**2)
    features = together(a)
    assert features.shape == (1, 3 * 16 + 3, 4, 3), "one grid, the finer positions as channels"
    assert float(feature_distance(features, together(b))) == pytest.approx(expected, rel=1e-5)


def test_scale_of_a_members_features_does_not_matter() -> None:
    a, b = smooth_picture(32, 32), smooth_picture(32, 32, seed=1)
    distances = [
        float(feature_distance(together(a), together(b)))
        for gain in (1.0, 50.0)
        for together in [combine_encoders([averages(8, 1.0), averages(4, gain)], [1, 1])]
    ]
    assert distances[0] == pytest.approx(distances[1], rel=1e-4)


def test_combination_is_named_after_its_members_and_their_shares() -> None:
    one, two = averages(4, 1.0), averages(8, 2.0)
    assert combine_encoders([one, two], [1, 1]).name == "blocks of 4 + blocks of 8"
    families = [replace(one, family="FLUX.2's"), two, replace(two, family="Wan 2.2's")]
    assert combine_encoders(families, [1, 1, 1]).family == "FLUX.2's and Wan 2.2's"
    prints = {
        combine_encoders(members, weights).fingerprint
        for members, weights in (
            ([one, two], [1, 1]),
            ([two, one], [5, 5]),  # the same ensemble
            ([one, two], [1, 2]),
            ([one], [1]),
        )
    }
    assert len(prints) == 3
    embedded = load_encoder("embedded")
    assert combine_encoders([embedded], [1]).is_rehearsal
    assert not combine_encoders([embedded, one], [1, 1]).is_rehearsal


def test_each_member_has_a_gradient() -> None:
    picture = smooth_picture(32, 32).requires_grad_()
    together = combine_encoders([averages(4, 1.0), averages(8, 1.0)], [1, 1])
    features = together(picture)
    for part in (features[:, :12], features[:, 12:]):
        (gradient,) = torch.autograd.grad(part.square().sum(), picture, retain_graph=True)
        assert bool((gradient != 0).all())


@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 0.0], [1.0, -1.0]])
def test_wrong_weights_are_named(weights: list[float]) -> None:
    with pytest.raises(EncoderError, match="a weight above 0 each, but got 2 encoders"):
        combine_encoders([averages(4, 1.0), averages(8, 1.0)], weights)


def test_encoders_on_two_devices_are_refused() -> None:
    with pytest.raises(EncoderError, match="on one device, but they are on cpu, meta"):
        combine_encoders([averages(4, 1.0), averages(8, 1.0, "meta")], [1, 1])
