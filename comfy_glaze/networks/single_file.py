"""Single-file autoencoders in other layouts, brought into diffusers' layout.

A .safetensors file carries no config, so the architecture is read off the shapes of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .other_layouts import hunyuan_image_from_original, wan_from_original
from .small_encoders import (
    SmallEncoder,
    by_layer,
    is_small_decoder,
    is_small_encoder,
    is_tiny,
)

Config = dict[str, Any]
Weights = dict[str, Tensor]

_CHECKPOINT_PREFIXES = ("first_stage_model.", "vae.")
_ENCODER_PREFIXES = ("taesd_encoder.", "encoder.layers.", "encoder.", "")
_DECODER_PREFIXES = ("taesd_decoder.", "decoder.layers.", "decoder.", "")
DECODER_HALF = ("decoder.", "post_quant_conv.")
"""How the keys of a decoder half begin, in diffusers' layout."""

UNKNOWN = (
    "holds no autoencoder of a known layout (KL, FLUX.2, Wan or Qwen-Image, HunyuanImage 2.1, "
    "TAESD, TAEHV); one in diffusers' layout can be named by its folder, which says what it is"
)


def find_encoder(weights: Mapping[str, Tensor]) -> tuple[Config, Weights] | nn.Module | str:
    """What a file holds, whatever layout it has.

    Understood are, alone or inside a whole checkpoint: AutoencoderKL and FLUX.2's in diffusers'
    layout and in the original one; Wan's and Qwen-Image's, and HunyuanImage 2.1's, in the original
    one, which ComfyUI's files have; and the small encoders of the TAESD and TAEHV families.

    Returns:
        Config and weights in diffusers' layout; or a small encoder; each with its decoder half,
        where the file has one whose layout is known; or, in words that follow the file's name, why
        there is none.
    """
    inner = _inside_checkpoint(weights)
    inner = {_plain(key): value for key, value in inner.items()}
    for prefix in _ENCODER_PREFIXES:
        layers = _without(inner, prefix)
        if is_small_encoder(layers):
            decoder = _decoder_layers(inner)
            return _tiny(layers, decoder) if is_tiny(layers) else SmallEncoder(layers, decoder)
    if "encoder.conv1.weight" in inner and "encoder.head.2.weight" in inner:
        return wan_from_original(_only(inner, ("encoder.", "conv1.")))
    if "encoder.conv_in.weight" in inner and inner["encoder.conv_in.weight"].ndim == 4:
        return _of_pictures(inner)
    if any(is_small_decoder(_without(inner, prefix)) for prefix in _DECODER_PREFIXES):
        return "holds a decoder alone, but a cloak leads an encoder; name the file of the encoder"
    if any(key.startswith("encoder.") and value.ndim == 5 for key, value in inner.items()):
        return (
            "holds the VAE of a video model, whose sizes a single file does not tell; name its "
            "folder in diffusers' layout, or wire it in ComfyUI"
        )
    return UNKNOWN


def _of_pictures(inner: Weights) -> tuple[Config, Weights]:
    down = inner.get("encoder.down.0.downsample.conv.weight")
    if down is not None and down.shape[0] != down.shape[1]:
        return hunyuan_image_from_original(_only(inner, ("encoder.",)))
    kept = _only(inner, ("encoder.", "quant_conv.", "bn.", *DECODER_HALF))
    if "encoder.down.0.block.0.norm1.weight" in inner:
        kept = _kl_from_original(kept)
    config = _kl_config(kept)
    if "bn.running_mean" in kept:
        config["_class_name"] = "AutoencoderKLFlux2"
    return config, kept


def _plain(key: str) -> str:
    """Some files have the convolutions between the two halves inside these."""
    for half, inside in (("encoder.", "quant_conv."), ("decoder.", "post_quant_conv.")):
        if key.startswith(half + inside):
            return key.removeprefix(half)
    return key


def _without(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    """What lies under a prefix, by the rest of its key."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _only(weights: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> Weights:
    return {key: value for key, value in weights.items() if key.startswith(prefixes)}


def without_decoder(weights: Mapping[str, Tensor]) -> Weights:
    """The encoder half, in diffusers' layout."""
    return {key: value for key, value in weights.items() if not key.startswith(DECODER_HALF)}


def _decoder_layers(inner: Weights) -> Weights:
    """The numbered layers of a small decoder as diffusers counts them; none where there is none."""
    for prefix in _DECODER_PREFIXES[:-1]:
        layers = _without(inner, prefix)
        if layers and all(key.split(".")[0].isdigit() for key in layers):
            if "0.weight" in layers:
                return layers
            # elsewhere the first one has no weights
            parts = {key: key.partition(".") for key in layers}
            return {f"{int(n) - 1}.{rest}": layers[key] for key, (n, _, rest) in parts.items()}
    return {}


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
        "use_post_quant_conv": "post_quant_conv.weight" in weights,
        "norm_num_groups": 32,
    }


_ORIGINAL_NAMES = (
    (".nin_shortcut.", ".conv_shortcut."),
    (".downsample.conv.", ".downsamplers.0.conv."),
    (".upsample.conv.", ".upsamplers.0.conv."),
    ("coder.mid.block_1.", "coder.mid_block.resnets.0."),
    ("coder.mid.block_2.", "coder.mid_block.resnets.1."),
    ("coder.mid.attn_1.norm.", "coder.mid_block.attentions.0.group_norm."),
    ("coder.mid.attn_1.q.", "coder.mid_block.attentions.0.to_q."),
    ("coder.mid.attn_1.k.", "coder.mid_block.attentions.0.to_k."),
    ("coder.mid.attn_1.v.", "coder.mid_block.attentions.0.to_v."),
    ("coder.mid.attn_1.proj_out.", "coder.mid_block.attentions.0.to_out.0."),
    ("coder.norm_out.", "coder.conv_norm_out."),
    ("encoder.down.", "encoder.down_blocks."),
    (".block.", ".resnets."),
)
"""Of both halves, the encoder and the decoder."""


def _kl_from_original(weights: Mapping[str, Tensor]) -> Weights:
    """A KL autoencoder, from the original layout to diffusers'."""
    last = _count(weights, "decoder.up.{}.block.0.conv1.weight") - 1
    renamed = {}
    for key, value in weights.items():
        if key.startswith("decoder.up."):  # the other way round there
            level, _, rest = key.removeprefix("decoder.up.").partition(".")
            key = f"decoder.up_blocks.{last - int(level)}.{rest}"
        for original, ours in _ORIGINAL_NAMES:
            key = key.replace(original, ours)
        if ".attentions." in key and value.ndim == 4:  # a 1 × 1 convolution there, linear here
            value = value[:, :, 0, 0]
        renamed[key] = value
    return renamed


def _tiny(layers: Weights, decoder: Weights) -> tuple[Config, Weights]:
    """A TAESD encoder: one width throughout, blocks counted between the strides."""
    width, last = layers["0.weight"].shape[0], max(by_layer(layers))
    blocks, doubling = _blocks(layers), _blocks(decoder)
    if len(doubling) != len(blocks):  # of another kind
        decoder, doubling = {}, blocks
    config = {
        "_class_name": "AutoencoderTiny",
        "encoder_block_out_channels": [width] * len(blocks),
        "decoder_block_out_channels": [width] * len(blocks),
        "num_encoder_blocks": blocks,
        "num_decoder_blocks": doubling,
        "latent_channels": layers[f"{last}.weight"].shape[0],
    }
    weights = {f"encoder.layers.{key}": value for key, value in layers.items()}
    return config, weights | {f"decoder.layers.{key}": value for key, value in decoder.items()}


def _blocks(layers: Weights) -> list[int]:
    """How many blocks lie between the convolutions, but for the first and the last of them."""
    counts = [0]
    for _, part in sorted(by_layer(layers).items())[1:-1]:
        if "weight" in part:
            counts.append(0)
        else:
            counts[-1] += 1
    return counts
