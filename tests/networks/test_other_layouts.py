"""Single files in the layouts that ComfyUI's files have, against the class of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import EncoderError

from ..conftest import smooth_picture
from .test_encoder_kinds import encoded, tiny_model
from .test_encoders import kl_in_original_layout
from .tiny_models import TINY

Weights = dict[str, Tensor]


def _replaced(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in names:
        key = key.replace(ours, theirs)
    return key


WAN = (
    ("post_quant_conv.", "conv2."),
    ("quant_conv.", "conv1."),
    (".mid_block.resnets.0.", ".middle.0."),
    (".mid_block.attentions.0.", ".middle.1."),
    (".mid_block.resnets.1.", ".middle.2."),
    (".norm1.", ".residual.0."),
    (".conv1.", ".residual.2."),
    (".norm2.", ".residual.3."),
    (".conv2.", ".residual.6."),
    (".conv_shortcut.", ".shortcut."),
    ("encoder.conv_in.", "encoder.conv1."),
    ("encoder.norm_out.", "encoder.head.0."),
    ("encoder.conv_out.", "encoder.head.2."),
    ("encoder.down_blocks.", "encoder.downsamples."),
    (".resnets.", ".downsamples."),
    (".downsampler.", ".downsamples.1."),  # one block, then the step down
)


def wan_file(model: Any) -> Weights:
    weights = {}
    for key, value in model.state_dict().items():
        if key.startswith("encoder."):
            weights[_replaced(key, WAN)] = value
        elif key.startswith("quant_conv."):
            weights[key.replace("quant_conv.", "conv1.")] = value
    return weights


HUNYUAN = (
    ("mid_block.resnets.0.", "mid.block_1."),
    ("mid_block.resnets.1.", "mid.block_2."),
    ("mid_block.attentions.0.to_", "mid.attn_1."),
    ("mid_block.attentions.0.proj.", "mid.attn_1.proj_out."),
    ("mid_block.attentions.0.norm.", "mid.attn_1.norm."),
    (".conv_shortcut.", ".nin_shortcut."),
)


def hunyuan_file(model: Any) -> Weights:
    weights = {}
    for key, value in model.state_dict().items():
        if key.startswith("encoder."):
            key = _replaced(key, HUNYUAN)
            if ".down_blocks." in key:
                number, rest = key.split(".down_blocks.")[1].split(".", 1)
                level, place = divmod(int(number), 2)  # one block, then the step down
                inside = "downsample" if place else "block.0"
                key = f"encoder.down.{level}.{inside}.{rest}"
            weights[key] = value
    return weights


def flux2_file(model: Any) -> Weights:
    """As one of ComfyUI's: the convolution behind the encoder inside it."""
    return {
        f"encoder.{key}" if key.startswith("quant_conv.") else key: value
        for key, value in kl_in_original_layout(model).items()
    }


def wan22() -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKLWan(
        **TINY["AutoencoderKLWan"], is_residual=True, in_channels=12, out_channels=12, patch_size=2
    ).eval()


FILES: dict[str, tuple[Callable[[], Any], Callable[[Any], Weights]]] = {
    "Wan 2.1": (lambda: tiny_model("AutoencoderKLWan"), wan_file),
    "Wan 2.2": (wan22, wan_file),
    "HunyuanImage 2.1": (lambda: tiny_model("AutoencoderKLHunyuanImage"), hunyuan_file),
    "FLUX.2": (lambda: tiny_model("AutoencoderKLFlux2"), flux2_file),
    "FLUX.2 in diffusers' layout": (
        lambda: tiny_model("AutoencoderKLFlux2"),
        lambda model: dict(model.state_dict()),
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("prefix", ["", "vae."])
def test_a_file_gives_what_its_class_encodes(name: str, prefix: str, tmp_path: Path) -> None:
    make, laid_out = FILES[name]
    model = make()
    weights = {prefix + key: value.clone().contiguous() for key, value in laid_out(model).items()}
    save_file(weights, tmp_path / "vae.safetensors")
    model.save_pretrained(tmp_path / "folder")
    picture = smooth_picture(64, 96)
    encoder = load_encoder(str(tmp_path / "vae.safetensors"))
    wanted = encoded(model, picture)
    found = encoder(picture)
    assert found.shape == wanted.shape
    assert float((found - wanted).norm() / wanted.norm()) <= 1e-4
    folder = load_encoder(str(tmp_path / "folder"))
    assert encoder.fingerprint == folder.fingerprint
    assert (encoder.multiple, encoder.family) == (folder.multiple, folder.family)


def test_the_vae_of_a_video_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    model = tiny_model("AutoencoderKLCogVideoX")
    save_file(dict(model.state_dict()), tmp_path / "video.safetensors")
    with pytest.raises(EncoderError, match=r"VAE of a video model.* name its folder"):
        load_encoder(str(tmp_path / "video.safetensors"))
