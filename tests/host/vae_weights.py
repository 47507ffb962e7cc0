"""VAEs as files hold them, with random weights, and what the host's loader makes of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from .checkpoint import kl_vae, tiny_vae_weights

Weights = dict[str, Tensor]


def _kl(**options: Any) -> Weights:
    torch.manual_seed(0)
    levels = len(options["block_out_channels"])
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=2,
        **options,
    )
    return dict(model.state_dict())


def _tiny_sixteen() -> Weights:
    torch.manual_seed(0)
    weights = {"vae_scale": torch.ones(()), "vae_shift": torch.zeros(())}
    for key, value in AutoencoderTiny(latent_channels=16).state_dict().items():
        half, _, number, rest = key.split(".", 3)
        weights[f"taesd_{half}.{int(number) + (half == 'decoder')}.{rest}"] = value
    return weights


def _wan() -> Weights:
    vae = importlib.import_module("comfy.ldm.wan.vae")
    torch.manual_seed(0)
    with torch.inference_mode(False):
        model = vae.WanVAE(
            dim=96,
            z_dim=16,
            dim_mult=[1, 2, 4, 4],
            num_res_blocks=2,
            attn_scales=[],
            temperal_downsample=[False, True, True],
            dropout=0.0,
        )
        for weight in model.parameters():  # the host leaves them as they lie in memory
            spread = 0.02 if weight[0].numel() > 1 else 0.0
            torch.nn.init.normal_(weight, 0.0 if spread else 1.0, spread)
    return dict(model.state_dict())


WEIGHTS: dict[str, Callable[[], Weights]] = {
    "SD 1, SD 2, SDXL": lambda: dict(kl_vae().state_dict()),
    "SD 3, Flux": lambda: _kl(
        block_out_channels=(128, 256, 512, 512),
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ),
    "TAESD": tiny_vae_weights,
    "TAEF1": _tiny_sixteen,
    "Wan": _wan,
}


@torch.inference_mode()
def host_vae(weights: Weights, dtype: torch.dtype = torch.float32) -> Any:
    """A VAE as the host's loaders make it."""
    sd = importlib.import_module("comfy.sd")
    return sd.VAE(sd=dict(weights), dtype=dtype)
