"""Single-file autoencoders in other layouts, brought into diffusers' layout.

A .safetensors file carries no config, so the architecture is read off the shapes of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

Config = dict[str, Any]
Weights = dict[str, Tensor]

_CHECKPOINT_PREFIXES = ("first_stage_model.", "vae.")
_TAESD_PREFIXES = ("taesd_encoder.", "encoder.layers.", "encoder.", "")


def as_diffusers(weights: Mapping[str, Tensor]) -> tuple[Config, Weights] | None:
    """Config and encoder weights in diffusers' layout, whatever layout the file has.

    Understood: AutoencoderKL in diffusers' layout and in the original one (alone or inside a
    whole checkpoint), and TAESD-family encoders.  None where a file holds none of these.
    """
    inner = _inside_checkpoint(weights)
    if "encoder.conv_in.weight" in inner:
        if "encoder.down.0.block.0.norm1.weight" in inner:
            inner = _kl_from_original(inner)
        return _kl_config(inner), _only(inner, ("encoder.", "quant_conv."))
    for prefix in _TAESD_PREFIXES:
        if f"{prefix}0.weight" in inner and f"{prefix}1.conv.0.weight" in inner:
            return _tiny(_only(inner, (prefix,)), prefix)
    return None


def _only(weights: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> Weights:
    return {key: value for key, value in weights.items() if key.startswith(prefixes)}


def _inside_checkpoint(weights: Mapping[str, Tensor]) -> Weights:
    for prefix in _CHECKPOINT_PREFIXES:
        inner = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        if inner:
            return inner
    return dict(weights)


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many consecutive indices i have a key ``pattern.format(i)``."""
    count = 0
    while pattern.format(count) in weights:
        count += 1
    return count


def _kl_config(weights: Mapping[str, Tensor]) -> Config:
    """The config of a KL encoder in diffusers' layout.

    The number of normalisation groups leaves no trace in the weights; every published KL
    autoencoder has 32.
    """
    levels = _count(weights, "encoder.down_blocks.{}.resnets.0.conv1.weight")
    widths = [
        weights[f"encoder.down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in range(levels)
    ]
    return {
        "_class_name": "AutoencoderKL",
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": widths,
        "layers_per_block": _count(weights, "encoder.down_blocks.0.resnets.{}.conv1.weight"),
        "latent_channels": weights["encoder.conv_out.weight"].shape[0] // 2,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in weights,
        "use_quant_conv": "quant_conv.weight" in weights,
        "use_post_quant_conv": False,
        "norm_num_groups": 32,
    }


_ORIGINAL_NAMES = (
    (".nin_shortcut.", ".conv_shortcut."),
    (".downsample.conv.", ".downsamplers.0.conv."),
    ("encoder.mid.block_1.", "encoder.mid_block.resnets.0."),
    ("encoder.mid.block_2.", "encoder.mid_block.resnets.1."),
    ("encoder.mid.attn_1.norm.", "encoder.mid_block.attentions.0.group_norm."),
    ("encoder.mid.attn_1.q.", "encoder.mid_block.attentions.0.to_q."),
    ("encoder.mid.attn_1.k.", "encoder.mid_block.attentions.0.to_k."),
    ("encoder.mid.attn_1.v.", "encoder.mid_block.attentions.0.to_v."),
    ("encoder.mid.attn_1.proj_out.", "encoder.mid_block.attentions.0.to_out.0."),
    ("encoder.norm_out.", "encoder.conv_norm_out."),
    ("encoder.down.", "encoder.down_blocks."),
    (".block.", ".resnets."),
)


def _kl_from_original(weights: Mapping[str, Tensor]) -> Weights:
    """The encoder half of a KL autoencoder, from the original layout to diffusers'."""
    renamed = {}
    for key, value in _only(weights, ("encoder.", "quant_conv.")).items():
        for original, ours in _ORIGINAL_NAMES:
            key = key.replace(original, ours)
        if ".attentions." in key and value.ndim == 4:  # a 1 × 1 convolution there, linear here
            value = value[:, :, 0, 0]
        renamed[key] = value
    return renamed


def _tiny(weights: Mapping[str, Tensor], prefix: str) -> tuple[Config, Weights]:
    """A TAESD-family encoder: one width throughout, blocks counted between the strides."""
    layers = {key.removeprefix(prefix): value for key, value in weights.items()}
    layers = {key: value for key, value in layers.items() if key[0].isdigit()}
    last = max(int(key.split(".")[0]) for key in layers)
    blocks: list[int] = [0]
    for index in range(1, last):
        if f"{index}.weight" in layers:
            blocks.append(0)
        else:
            blocks[-1] += 1
    width, latent_channels = layers["0.weight"].shape[0], layers[f"{last}.weight"].shape[0]
    config = {
        "_class_name": "AutoencoderTiny",
        "encoder_block_out_channels": [width] * len(blocks),
        "decoder_block_out_channels": [width] * len(blocks),
        "num_encoder_blocks": blocks,
        "num_decoder_blocks": [1] * len(blocks),
        "latent_channels": latent_channels,
    }
    return config, {f"encoder.layers.{key}": value for key, value in layers.items()}
