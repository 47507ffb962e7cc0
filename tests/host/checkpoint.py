"""Small checkpoints with random weights that a ComfyUI loads as Stable Diffusion 1.5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.styles.bank import StyleBank, builtin_styles, centroid_of
from comfy_glaze.styles.bank_file import save_style_bank

Shapes = dict[str, tuple[int, ...]]


def _res_block(name: str, inputs: int) -> Shapes:
    shapes: Shapes = {
        f"{name}.in_layers.0": (inputs,),
        f"{name}.in_layers.2": (320, inputs, 3, 3),
        f"{name}.emb_layers.1": (320, 1280),
        f"{name}.out_layers.0": (320,),
        f"{name}.out_layers.3": (320, 320, 3, 3),
    }
    return shapes | ({f"{name}.skip_connection": (320, inputs, 1, 1)} if inputs != 320 else {})


def _transformer(name: str) -> Shapes:
    block = f"{name}.transformer_blocks.0"
    shapes: Shapes = {
        f"{name}.norm": (320,),
        f"{name}.proj_in": (320, 320, 1, 1),
        f"{block}.ff.net.0.proj": (2560, 320),
        f"{block}.ff.net.2": (320, 1280),
        f"{name}.proj_out": (320, 320, 1, 1),
    }
    for number, context in ((1, 320), (2, 768)):
        attention = f"{block}.attn{number}"
        shapes |= {f"{attention}.to_q": (320, 320), f"{attention}.to_out.0": (320, 320)}
        shapes |= {f"{attention}.to_{part}": (320, context) for part in "kv"}
    return shapes | {f"{block}.norm{number}": (320,) for number in (1, 2, 3)}


def unet_weights() -> dict[str, Tensor]:
    """The smallest UNet that is still taken for SD 1.5's: one level, one block, one attention."""
    shapes: Shapes = {
        "time_embed.0": (1280, 320),
        "time_embed.2": (1280, 1280),
        "input_blocks.0.0": (320, 4, 3, 3),
        **_res_block("input_blocks.1.0", 320),
        **_transformer("input_blocks.1.1"),
        **_res_block("output_blocks.0.0", 640),
        **_res_block("output_blocks.1.0", 640),
        "out.0": (320,),
        "out.2": (4, 320, 3, 3),
    }
    generator = torch.Generator().manual_seed(0)

    def values() -> Iterator[tuple[str, Tensor]]:
        for name, shape in shapes.items():
            if len(shape) == 1:  # a normalisation
                yield f"{name}.weight", torch.ones(shape)
            else:
                spread = torch.Size(shape[1:]).numel() ** -0.5
                yield f"{name}.weight", torch.randn(shape, generator=generator) * spread
            if not name.endswith((".to_q", ".to_k", ".to_v")):
                yield f"{name}.bias", torch.zeros(shape[0])

    return dict(values())


def tiny_vae_weights() -> dict[str, Tensor]:
    """A TAESD-type VAE in its original layout, whose decoder counts one more layer (a clamp)."""
    torch.manual_seed(0)
    weights = {"vae_scale": torch.ones(()), "vae_shift": torch.zeros(())}
    for key, value in AutoencoderTiny().state_dict().items():
        half, _, number, rest = key.split(".", 3)
        shifted = int(number) + (half == "decoder")
        weights[f"taesd_{half}.{shifted}.{rest}"] = value
    return weights


def kl_vae() -> AutoencoderKL:
    """A full-size AutoencoderKL, as SD 1.5 has it, with random weights."""
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        sample_size=512,
    )


def clip_weights() -> dict[str, Tensor]:
    """CLIP-L's text half at its full size, which hosts take for granted."""
    torch.manual_seed(0)
    config = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    weights = CLIPTextModel(config).state_dict()
    prefix = "" if any(key.startswith("text_model.") for key in weights) else "text_model."
    return {f"{prefix}{key}": value for key, value in weights.items() if "position_ids" not in key}


def write_checkpoint(path: Path) -> None:
    """UNet, TAESD-type VAE and text encoder in one file of some 280 MB."""
    parts = {
        "model.diffusion_model.": unet_weights(),
        "first_stage_model.": tiny_vae_weights(),
        "cond_stage_model.transformer.": clip_weights(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"{prefix}{key}": v.half() for prefix, part in parts.items() for key, v in part.items()},
        path,
    )


def write_kl_vae(path: Path) -> None:
    """A full-size VAE alone, float32, in diffusers' layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(kl_vae().state_dict(), path)


def write_style_bank(path: Path, checkpoint: Path) -> None:
    """The built-in styles at random places of the checkpoint's feature space, so that no
    test waits until the host has drawn and encoded them all."""
    encoder, styles = load_encoder(str(checkpoint)), builtin_styles()
    size = centroid_of([torch.rand(1, 3, 64, 64)], encoder).shape[0]
    places = torch.randn(len(styles), size, generator=torch.Generator().manual_seed(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_style_bank(StyleBank(styles, places, encoder.name, encoder.fingerprint), path)
