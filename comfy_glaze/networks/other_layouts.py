"""Autoencoders of Wan, Qwen-Image and HunyuanImage 2.1, from the layout of ComfyUI's files.

Their original code numbers the layers; diffusers names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

Config = dict[str, Any]
Weights = dict[str, Tensor]

_WAN_NAMES = (
    ("encoder.conv1.", "encoder.conv_in."),
    ("encoder.middle.0.", "encoder.mid_block.resnets.0."),
    ("encoder.middle.1.", "encoder.mid_block.attentions.0."),
    ("encoder.middle.2.", "encoder.mid_block.resnets.1."),
    ("encoder.head.0.", "encoder.norm_out."),
    ("encoder.head.2.", "encoder.conv_out."),
    ("encoder.downsamples.", "encoder.down_blocks."),
    (".residual.0.", ".norm1."),
    (".residual.2.", ".conv1."),
    (".residual.3.", ".norm2."),
    (".residual.6.", ".conv2."),
    (".shortcut.", ".conv_shortcut."),
)


def wan_from_original(weights: Mapping[str, Tensor]) -> tuple[Config, Weights]:
    """Wan 2.1's (which is Qwen-Image's) or Wan 2.2's encoder half, as ``AutoencoderKLWan``."""
    nested = any(".downsamples.0.downsamples." in key for key in weights)
    renamed = {}
    for key, value in weights.items():
        if key.startswith("conv1."):
            key = f"quant_{key.replace('conv1.', 'conv.')}"
        for original, ours in _WAN_NAMES:
            key = key.replace(original, ours)
        renamed[_in_block(key) if nested else key] = value
    first = weights["encoder.conv1.weight"]
    widths, blocks, in_time = _wan_levels(weights, nested)
    channels = first.shape[1]
    config = {
        "_class_name": "AutoencoderKLWan",
        "base_dim": first.shape[0],
        "z_dim": weights["conv1.weight"].shape[0] // 2,
        "dim_mult": [width // first.shape[0] for width in widths],
        "num_res_blocks": blocks,
        "temperal_downsample": in_time,
        "is_residual": nested,
        "in_channels": channels,
        "patch_size": 2 if nested else None,  # Wan 2.2 takes blocks of 2 × 2 pixels as channels
    }
    return config, renamed


def _in_block(key: str) -> str:
    """``down_blocks.i.downsamples.j.…`` of Wan 2.2, whose last one is what halves the picture."""
    before, found, after = key.partition(".downsamples.")
    if not found:
        return key
    number, _, rest = after.partition(".")
    halves = rest.startswith(("resample.", "time_conv."))
    return f"{before}.downsampler.{rest}" if halves else f"{before}.resnets.{number}.{rest}"


def _wan_levels(weights: Mapping[str, Tensor], nested: bool) -> tuple[list[int], int, list[bool]]:
    """Width of each level, blocks in each, and whether each step down merges frames."""
    levels: list[list[int]] = [[]]
    in_time: list[bool] = []
    for place in _places(weights, nested):
        block = weights.get(f"{place}.residual.6.weight")
        if block is not None:
            levels[-1].append(block.shape[0])
            continue
        in_time.append(f"{place}.time_conv.weight" in weights)
        levels.append([])
    return [level[-1] for level in levels], len(levels[0]), in_time


def _places(weights: Mapping[str, Tensor], nested: bool) -> list[str]:
    """The numbered layers, in order."""
    depth = 5 if nested else 3
    found = {
        tuple(key.split(".")[:depth])
        for key in weights
        if key.startswith("encoder.downsamples.") and ".avg_shortcut." not in key
    }
    numbers = (2, 4) if nested else (2,)
    ordered = sorted(found, key=lambda parts: [int(parts[number]) for number in numbers])
    return [".".join(parts) for parts in ordered]


_HUNYUAN_NAMES = (
    (".nin_shortcut.", ".conv_shortcut."),
    ("encoder.mid.block_1.", "encoder.mid_block.resnets.0."),
    ("encoder.mid.block_2.", "encoder.mid_block.resnets.1."),
    ("encoder.mid.attn_1.norm.", "encoder.mid_block.attentions.0.norm."),
    ("encoder.mid.attn_1.q.", "encoder.mid_block.attentions.0.to_q."),
    ("encoder.mid.attn_1.k.", "encoder.mid_block.attentions.0.to_k."),
    ("encoder.mid.attn_1.v.", "encoder.mid_block.attentions.0.to_v."),
    ("encoder.mid.attn_1.proj_out.", "encoder.mid_block.attentions.0.proj."),
)


def hunyuan_image_from_original(weights: Mapping[str, Tensor]) -> tuple[Config, Weights]:
    """HunyuanImage 2.1's encoder half, as ``AutoencoderKLHunyuanImage``."""
    levels = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder.down."))
    blocks = 1 + max(
        int(key.split(".")[4]) for key in weights if key.startswith("encoder.down.0.block.")
    )
    renamed = {}
    for key, value in weights.items():
        parts = key.split(".")
        if parts[1] == "down":  # one row of blocks and steps down
            first = int(parts[2]) * (blocks + 1)
            if parts[3] == "block":
                key = ".".join(("encoder.down_blocks", str(first + int(parts[4])), *parts[5:]))
            else:
                key = ".".join(("encoder.down_blocks", str(first + blocks), *parts[4:]))
        for original, ours in _HUNYUAN_NAMES:
            key = key.replace(original, ours)
        renamed[key] = value
    steps = sum(f"encoder.down.{i}.downsample.conv.weight" in weights for i in range(levels))
    config = {
        "_class_name": "AutoencoderKLHunyuanImage",
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": weights["encoder.conv_out.weight"].shape[0] // 2,
        "block_out_channels": [
            weights[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)
        ],
        "layers_per_block": blocks,
        "spatial_compression_ratio": 2**steps,
        "sample_size": 256 * 2**steps,
    }
    return config, renamed
