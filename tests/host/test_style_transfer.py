"""Style transfer through the host's own sampling, with tiny random models of its families."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from ..conftest import smooth_picture
from .in_process import NAME, pack_module
from .vae_kinds import KINDS, made_by_the_host
from .vae_weights import WEIGHTS

pytestmark = pytest.mark.filterwarnings("ignore")  # the host's own
WIDTH, WORDS = 32, 8  # of the text features, and how many there are

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": WIDTH,
    "num_heads": 2,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
}
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "SD 1": ("SD15", UNET | {"use_linear_in_transformer": False}, "TAESD"),
    "SDXL": (
        "SDXL",
        UNET
        | {
            "use_linear_in_transformer": True,
            "num_classes": "sequential",
            "adm_in_channels": 1280 + 6 * 256,
        },
        "TAESD",
    ),
    "FLUX.1": (
        "Flux",
        {
            "image_model": "flux",
            "guidance_embed": True,
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "vec_in_dim": 1280,
            "context_in_dim": WIDTH,
            "hidden_size": 32,
            "mlp_ratio": 2.0,
            "num_heads": 2,
            "depth": 1,
            "depth_single_blocks": 1,
            "axes_dim": [4, 6, 6],
            "theta": 10000,
            "qkv_bias": True,
            "txt_ids_dims": [],
        },
        "TAEF1",
    ),
    "FLUX.2, its small VAE": (
        "Flux2",
        {
            "image_model": "flux2",
            "guidance_embed": True,
            "in_channels": 128,
            "out_channels": 128,
            "patch_size": 1,
            "vec_in_dim": None,
            "context_in_dim": WIDTH,
            "hidden_size": 32,
            "mlp_ratio": 3.0,
            "num_heads": 2,
            "depth": 1,
            "depth_single_blocks": 1,
            "axes_dim": [4, 4, 4, 4],
            "theta": 2000,
            "qkv_bias": False,
            "ops_bias": False,
            "global_modulation": True,
            "mlp_silu_act": True,
            "txt_ids_dims": [3],
        },
        "TAEF2",
    ),
    "Qwen-Image": (
        "QwenImage",
        {
            "image_model": "qwen_image",
            "in_channels": 64,
            "out_channels": 16,
            "num_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": WIDTH,
            "axes_dims_rope": (4, 6, 6),
        },
        "Wan",
    ),
    "Wan 2.1": (
        "WAN21_T2V",
        {
            "image_model": "wan2.1",
            "model_type": "t2v",
            "dim": 32,
            "ffn_dim": 32,
            "freq_dim": 32,
            "text_dim": WIDTH,
            "num_heads": 2,
            "num_layers": 1,
        },
        "Wan",
    ),
    "Lumina 2": (
        "Lumina2",
        {
            "image_model": "lumina2",
            "in_channels": 16,
            "dim": 32,
            "n_layers": 1,
            "n_refiner_layers": 1,
            "n_heads": 2,
            "n_kv_heads": 2,
            "qk_norm": True,
            "cap_feat_dim": WIDTH,
            "axes_dims": [4, 6, 6],
            "axes_lens": [64, 64, 64],
        },
        "TAEF1",
    ),
}


MASKED = {"FLUX.2, its small VAE", "Lumina 2"}  # whose text encoders say which words count


@dataclass
class Words:
    """In place of a text encoder: features that the text decides."""

    masked: bool

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, tokens: str) -> list[list[Any]]:
        generator = torch.Generator().manual_seed(sum(map(ord, tokens)))
        features = torch.randn(1, WORDS, WIDTH, generator=generator)
        pooled = torch.randn(1, 1280, generator=generator)
        mask = {"attention_mask": torch.ones(1, WORDS, dtype=torch.long)} if self.masked else {}
        return [[features, {"pooled_output": pooled, **mask}]]

    def get_sd(self) -> dict[str, Tensor]:
        return {}


@pytest.fixture(scope="module")
def sampling(host_path: Path) -> ModuleType:
    """The pack's adapter for sampling, loaded by path as the host does it."""
    return pack_module(host_path, "nodes.host.sampling")


def random_model(called: str, config: dict[str, Any]) -> Any:
    """One of the host's models with random weights."""
    kind = getattr(importlib.import_module("comfy.supported_models"), called, None)
    if kind is None:
        pytest.skip("this host does not know it")
    if called == "Flux":  # the older hosts know fewer of its parameters
        known = importlib.import_module("comfy.ldm.flux.model").FluxParams.__annotations__
        config = {k: v for k, v in config.items() if k in known or k == "image_model"}
    described = kind(dict(config, dtype=torch.float32))
    described.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    model = described.get_model({}, "", device=cpu)
    generator = torch.Generator().manual_seed(0)
    for weight in model.diffusion_model.parameters():  # the host leaves them as they lie in memory
        spread = torch.randn(weight.shape, generator=generator) * 0.1
        weight.data = spread + 1 if weight.ndim == 1 else spread
    patcher = importlib.import_module("comfy.model_patcher").ModelPatcher
    return patcher(model, load_device=cpu, offload_device=cpu)


def random_vae(name: str) -> Any:
    if name == "TAEF2":
        return made_by_the_host(KINDS["taef2"], decoders=True)
    return importlib.import_module("comfy.sd").VAE(sd=WEIGHTS[name](), dtype=torch.float32)


@pytest.mark.parametrize("family", MODELS)
@torch.inference_mode()
def test_every_family_redraws(sampling: ModuleType, family: str) -> None:
    called, config, vae = MODELS[family]
    model = random_model(called, config)
    settings = sampling.Sampling(2, 1.0, 0.6, "euler", "normal", 64)
    bank = importlib.import_module(f"{NAME}.comfy_glaze.styles.bank")
    wired = (Words(family in MASKED), random_vae(vae))
    redraw = sampling.img2img(model, *wired, settings)
    first, second = (
        bank.Style("Monet", "", "", prompt, None) for prompt in ("by monet", "by picasso")
    )
    images = smooth_picture(70, 97)
    drawn = redraw(images, first, 1)
    assert drawn.shape == images.shape
    assert drawn.isfinite().all()
    assert (drawn - images).abs().mean() > 0.005
    assert torch.equal(drawn, redraw(images, first, 1))
    assert not torch.equal(drawn, redraw(images, first, 2)), "the seed counts"
    assert not torch.equal(drawn, redraw(images, second, 1)), "the words count"
    assert len(redraw.fingerprint()) == 16
    guided = sampling.img2img(model, *wired, sampling.Sampling(2, 4.0, 0.6, "euler", "simple", 64))
    assert not torch.equal(drawn, guided(images, first, 1))
