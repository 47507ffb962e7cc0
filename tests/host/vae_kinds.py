"""Every VAE that the host's loader knows, made by it from the keys that it tells them by.

Weights are random in the encoder half; the decoder half stays as it was allocated, so that it
takes no memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

DECODERS = ("decoder", "post_quant_conv", "taesd_decoder", "conv2", "decoder_model", "previewer")


@dataclass(frozen=True)
class Kind:
    """A VAE of the host.

    Attributes:
        keys: the weights that its loader looks at, by key, with their shapes.
        whose: how reports name it.
        dtype: of these weights, which the loader looks at, too.
        metadata: of the file.
        since: what came to the host with it; an older one takes its file for another kind's.
        large: its encoder has a hundred million weights or more, and its keys fix that.
    """

    keys: dict[str, tuple[int, ...]]
    whose: str = ""
    dtype: torch.dtype = torch.float32
    metadata: dict[str, Any] | None = field(default=None, hash=False)
    since: str = "comfy.sd"
    large: bool = False


_KL = {"encoder.down.2.downsample.conv.weight": (512, 512, 3, 3)}
_LTX = "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight"
_LTX_CONFIG = (
    '{"vae": {"dims": 3, "in_channels": 3, "out_channels": 3, "latent_channels": 128, '
    '"encoder_blocks": [["res_x", 1], ["compress_space_res", {"multiplier": 2}], ["res_x", 1], '
    '["compress_all_res", {"multiplier": 2}], ["res_x", 2], ["compress_all", {}]], '
    '"decoder_blocks": [["res_x", 1], ["compress_all", {"residual": true}], ["res_x", 1]], '
    '"norm_layer": "pixel_norm", "patch_size": 4, "latent_log_var": "uniform", '
    '"encoder_base_channels": 32, "decoder_base_channels": 32, "spatial_padding_mode": "zeros"}}'
)
_WAN = "decoder.middle.0.residual.0.gamma"


def _wan(channels: int) -> dict[str, tuple[int, ...]]:
    return {
        _WAN: (384, 1, 1, 1),
        "decoder.head.0.gamma": (96, 1, 1, 1),
        "encoder.conv1.weight": (96, channels, 3, 3, 3),
        "decoder.head.2.weight": (channels, 96, 3, 3, 3),
    }


def _taehv(channels: int, pixels: int) -> dict[str, tuple[int, ...]]:
    return {"decoder.22.bias": (pixels,), "decoder.1.weight": (256, channels, 3, 3)}


KINDS = {
    "SD 1, 2, XL": Kind(
        {**_KL, "decoder.conv_in.weight": (512, 4, 3, 3), "post_quant_conv.weight": (4, 4, 1, 1)},
        "SD 1, 2 or XL's",
    ),
    "SD 3, FLUX.1": Kind({**_KL, "decoder.conv_in.weight": (512, 16, 3, 3)}, "FLUX.1's or SD 3's"),
    "FLUX.2": Kind(
        {
            **_KL,
            "decoder.conv_in.weight": (512, 32, 3, 3),
            "post_quant_conv.weight": (32, 32, 1, 1),
            "bn.running_mean": (128,),
        },
        "FLUX.2's",
        since="comfy.latent_formats.Flux2",
    ),
    "kl-f4": Kind(
        {"decoder.conv_in.weight": (512, 3, 3, 3), "post_quant_conv.weight": (3, 3, 1, 1)},
        "SD's upscaler's",
    ),
    "SVD": Kind({"decoder.mid.block_1.mix_factor": (1,)}, "SD 1, 2 or XL's"),
    "taesd": Kind({"taesd_decoder.1.weight": (64, 4, 3, 3)}, "SD 1, 2 or XL's small"),
    "taef1": Kind({"taesd_decoder.1.weight": (64, 16, 3, 3)}, "FLUX.1's or SD 3's small"),
    "taef2": Kind(
        {"taesd_decoder.1.weight": (64, 32, 3, 3)},
        "FLUX.2's small",
        metadata={"tae_latent_channels": 128},
        since="comfy.latent_formats.Flux2",
    ),
    "Wan 2.1, Qwen-Image": Kind(_wan(3), "Qwen-Image's or Wan 2.1's"),
    "Qwen-Image-Layered": Kind(_wan(4), "Qwen-Image's or Wan 2.1's"),
    "Wan 2.2": Kind(
        {_WAN: (1024, 1, 1, 1), "decoder.upsamples.0.upsamples.0.residual.2.weight": (1,)},
        "Wan 2.2's",
        large=True,
    ),
    "taew2_1": Kind(_taehv(16, 3), "Qwen-Image's or Wan 2.1's small"),
    "taehv": Kind(_taehv(16, 3), "Qwen-Image's or Wan 2.1's small", torch.float16),
    "taew2_2": Kind(_taehv(48, 12), "Wan 2.2's small"),
    "lighttaehy1_5": Kind(_taehv(32, 12), "HunyuanVideo 1.5's small"),
    "taeltx_2": Kind(_taehv(128, 48), "LTX-2's small"),
    "taeh3": Kind(_taehv(24, 12), "MiniMax H3's small"),
    "Stable Cascade C": Kind(
        {"encoder.backbone.1.0.block.0.1.num_batches_tracked": ()}, "Stable Cascade's"
    ),
    "HunyuanImage 2.1": Kind(
        {"decoder.conv_in.weight": (1024, 64, 3, 3)}, "HunyuanImage 2.1's", large=True
    ),
    "HunyuanImage refiner": Kind(
        {"decoder.conv_in.weight": (1024, 32, 3, 3, 3)}, "HunyuanVideo 1.5's", large=True
    ),
    "HunyuanVideo 1.5": Kind(
        {"decoder.conv_in.conv.weight": (1024, 32, 3, 3, 3)},
        "HunyuanVideo 1.5's",
        since="comfy.latent_formats.HunyuanVideo15",
        large=True,
    ),
    "HunyuanVideo": Kind(
        {
            "decoder.conv_in.conv.weight": (512, 16, 3, 3, 3),
            "post_quant_conv.weight": (16, 16, 1, 1, 1),
        },
        "HunyuanVideo's",
        large=True,
    ),
    "CogVideoX": Kind(
        {
            "decoder.conv_in.conv.weight": (512, 16, 3, 3, 3),
            "decoder.mid_block.resnets.0.norm1.norm_layer.weight": (1,),
            "encoder.conv_out.conv.weight": (32, 512, 3, 3, 3),
        },
        "CogVideoX's",
        since="comfy.latent_formats.CogVideoX",
        large=True,
    ),
    "LTX-Video": Kind({_LTX: (512, 1, 1, 1, 1)}, "LTX-Video's", large=True),
    "LTX-Video with its own configuration": Kind(
        {_LTX: (1024, 1, 1, 1, 1)}, "LTX-Video's", metadata={"config": _LTX_CONFIG}
    ),
    "LTX-Video 2.4": Kind(
        {"decoder.conv_in_x_t.weight": (1,), "decoder.conv_in.weight": (1, 128, 1, 1, 1)},
        "LTX-2's",
        since="comfy.ldm.lightricks.vae.na_diffusion_decoder",
        large=True,
    ),
    "Mochi": Kind({"decoder.blocks.2.blocks.3.stack.5.weight": (1,)}, "Mochi's", large=True),
    "Cosmos 1": Kind({"decoder.unpatcher3d.wavelets": (2,)}, "Cosmos 1's"),
    "SeedVR2": Kind(
        {"decoder.up_blocks.2.upsamplers.0.upscale_conv.weight": (1,)}, "SeedVR2's", large=True
    ),
    "Mage": Kind({"student.dconv_encoder.proj_out.weight": (256, 384, 1, 1)}, "Mage's"),
    "MiniMax H3": Kind(
        {
            "decoder.transformer_blocks.0.scale1": (2048,),
            "encoder.down.5.block.0.conv1.weight": (1,),
        },
        "MiniMax H3's",
        large=True,
    ),
}
"""Those that take pictures, by the model that they belong to."""

UNFIT = {
    "pixels": (Kind({"pixel_space_vae": ()}), "no cloak of this kind reaches them"),
    "Stable Cascade A": (Kind({"vquantizer.codebook.weight": (1,)}), "it rounds its features"),
    "Stable Cascade C's previewer": (
        Kind({"blocks.11.num_batches_tracked": ()}),
        "a previewer, which decodes, and brings no encoder",
    ),
    "Stable Audio": (Kind({"decoder.layers.1.layers.0.beta": (1,)}), "not for pictures"),
    "MMAudio": (
        Kind({"vocoder.activation_post.downsample.lowpass.filter": (1,)}),
        "not for pictures",
    ),
    "MiniMax H3's sound": (Kind({"pre_block.attn.zero_k_bias": (1,)}), "not for pictures"),
    "Hunyuan 3D": (
        Kind({"geo_decoder.cross_attn_decoder.ln_1.bias": (1,)}),
        "not for pictures",
    ),
    "Trellis 2": (
        Kind({"shape_dec.blocks.1.16.to_subdiv.weight": (1,)}),
        "cannot lead a cloak here",
    ),
    "TripoSplat": (
        Kind({"gs.base_offset_scale": (1,), "octree.out_proj.weight": (1,)}),
        "not for pictures",
    ),
}
"""Those that cannot lead a cloak, each with words of the reason."""


@contextmanager
def _nothing_loaded() -> Iterator[None]:
    """The loader builds what it recognises and fills in nothing."""
    loads = nn.Module.load_state_dict
    nn.Module.load_state_dict = lambda self, *_, **__: ([], [])  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.load_state_dict = loads  # type: ignore[method-assign]


@torch.inference_mode()
def made_by_the_host(
    kind: Kind,
    dtype: torch.dtype = torch.float32,
    *,
    filled: bool = True,
    decoders: bool = False,
) -> Any:
    """The VAE as the host's loaders leave it, in inference mode; its encoder filled, or as it was
    allocated, and its decoder likewise."""
    sd = importlib.import_module("comfy.sd")
    keys = {
        key: torch.zeros((), dtype=kind.dtype).expand(shape) for key, shape in kind.keys.items()
    }
    with _nothing_loaded():
        vae = sd.VAE(sd=keys, metadata=kind.metadata, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    for name, part in vae.first_stage_model.named_children():
        if decoders if name in DECODERS else filled:
            _fill(part, generator)
    return vae


def _fill(part: nn.Module, generator: torch.Generator) -> None:
    for name, weight in part.named_parameters():
        fan = weight[0].numel() if weight.ndim > 1 else 1
        if fan > 1:
            weight.copy_(torch.randn(weight.shape, generator=generator) * fan**-0.5)
        else:
            weight.fill_(0.0 if "bias" in name else 1.0)
    for name, buffer in part.named_buffers():
        if "mean" in name.rsplit(".", 1)[-1] or name.endswith("mean-of-means"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        elif name.rsplit(".", 1)[-1] in ("running_var", "std-of-means"):
            buffer.fill_(1.2)


def encoded(vae: Any, picture: Tensor) -> Tensor:
    """What ``vae.encode`` gives for images (B, 3, H, W): (B, C, h, w)."""
    with torch.inference_mode():
        features: Tensor = vae.encode(picture.movedim(1, -1))
    return features.flatten(1, 2) if features.ndim == 5 else features
