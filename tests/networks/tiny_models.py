"""A tiny autoencoder of each class of diffusers that can lead a cloak, with random weights."""

from __future__ import annotations

from typing import Any

_PAIR = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
}
_WAN = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 2, 2], "num_res_blocks": 1}
_HUNYUAN = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 1,
    "spatial_compression_ratio": 4,
}
_LTX = {
    "latent_channels": 8,
    "block_out_channels": (8, 16, 16, 16),
    "decoder_block_out_channels": (8, 16, 16, 16),
    "layers_per_block": (1,) * 5,
    "decoder_layers_per_block": (1,) * 5,
}

TINY: dict[str, dict[str, Any]] = {
    "AutoencoderKL": _PAIR,
    "AutoencoderKLFlux2": {**_PAIR, "latent_channels": 4},
    "AutoencoderKLQwenImage": {**_WAN, "temperal_downsample": [False, True]},
    "AutoencoderKLQwenImage21": {
        **{**_WAN, "dim_mult": [1, 1, 2, 2, 2], "decoder_base_dim": 8},
        "temperal_downsample": [False, True, True, True],
    },
    "AutoencoderKLWan": {**_WAN, "temperal_downsample": [False, True]},
    "AutoencoderKLHunyuanImage": {**_HUNYUAN, "sample_size": 32},
    "AutoencoderKLHunyuanImageRefiner": {**_HUNYUAN, "temporal_compression_ratio": 2},
    "AutoencoderDC": {
        "latent_channels": 4,
        "attention_head_dim": 8,
        "encoder_block_types": ("ResBlock", "EfficientViTBlock"),
        "decoder_block_types": ("ResBlock", "EfficientViTBlock"),
        "encoder_block_out_channels": (8, 16),
        "decoder_block_out_channels": (8, 16),
        "encoder_layers_per_block": (1, 1),
        "decoder_layers_per_block": (1, 1),
        "encoder_qkv_multiscales": ((), (5,)),
        "decoder_qkv_multiscales": ((), (5,)),
    },
    "AutoencoderTiny": {
        "encoder_block_out_channels": (16,) * 4,
        "decoder_block_out_channels": (16,) * 4,
        "num_encoder_blocks": (1, 1, 1, 1),
        "num_decoder_blocks": (1, 1, 1, 1),
    },
    "VQModel": _PAIR,
    "AsymmetricAutoencoderKL": {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "down_block_out_channels": (32, 64),
        "up_block_out_channels": (32, 64),
    },
    "ConsistencyDecoderVAE": {
        "encoder_block_out_channels": (32, 64),
        "encoder_down_block_types": ("DownEncoderBlock2D",) * 2,
        "encoder_layers_per_block": 1,
        "decoder_block_out_channels": (32, 32),
        "decoder_down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "decoder_up_block_types": ("ResnetUpsampleBlock2D",) * 2,
        "decoder_layers_per_block": 1,
    },
    "AutoencoderKLTemporalDecoder": {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "block_out_channels": (32, 64),
    },
    "AutoencoderKLKVAE": {
        "channels": 32,
        "num_enc_blocks": 1,
        "num_dec_blocks": 1,
        "z_channels": 4,
        "ch_mult": (1, 2),
    },
    "AutoencoderKLKVAEVideo": {"ch": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "z_channels": 4},
    "Kandinsky6SRVAE": {
        "latent_channels": 4,
        "encoder_block_out_channels": (32, 32, 32),
        "decoder_block_out_channels": (32, 32, 32),
        "layers_per_block": 1,
    },
    "AutoencoderKLCogVideoX": {
        "down_block_types": ("CogVideoXDownBlock3D",) * 3,
        "up_block_types": ("CogVideoXUpBlock3D",) * 3,
        "block_out_channels": (8, 8, 8),
        "latent_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": 2,
    },
    "AutoencoderKLCosmos": {
        "latent_channels": 4,
        "encoder_block_out_channels": (8, 8, 8, 8),
        "decode_block_out_channels": (8, 8, 8, 8),
        "attention_resolutions": (8,),
        "resolution": 64,
        "num_layers": 1,
        "latents_mean": [0.0],
        "latents_std": [1.0],
    },
    "AutoencoderKLHunyuanVideo": {
        "block_out_channels": (8, 8, 8, 8),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": 4,
    },
    "AutoencoderKLHunyuanVideo15": {**_HUNYUAN, "temporal_compression_ratio": 2},
    "AutoencoderKLLTXVideo": _LTX,
    "AutoencoderKLLTX2Video": {
        **_LTX,
        "block_out_channels": (8, 16, 16, 32),
        "decoder_block_out_channels": (8, 16, 16),
        "decoder_layers_per_block": (1,) * 4,
    },
    "AutoencoderKLMagvit": {
        "latent_channels": 4,
        "block_out_channels": [8, 8, 8, 8],
        "layers_per_block": 1,
        "norm_num_groups": 4,
    },
    "AutoencoderKLMiniMaxH3": {
        "latent_channels": 4,
        "block_out_channels": (8, 8, 8, 8),
        "layers_per_block": 1,
        "spatial_downsample_factors": (2, 2, 2, 1),
        "temporal_downsample_factors": (1, 2, 2, 1),
        "norm_num_groups": 4,
        "decoder_num_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_attention_head_dim": 16,
        "latents_mean": (0.0,) * 4,
        "latents_std": (1.0,) * 4,
    },
    "AutoencoderKLMochi": {
        "encoder_block_out_channels": (32, 32, 32, 32),
        "decoder_block_out_channels": (32, 32, 32, 32),
        "layers_per_block": (1,) * 5,
        "latent_channels": 4,
    },
}
"""Configurations by class."""

VIDEO = {
    "AutoencoderKLQwenImage",
    "AutoencoderKLQwenImage21",
    "AutoencoderKLWan",
    "AutoencoderKLHunyuanImageRefiner",
    "AutoencoderKLKVAEVideo",
    "Kandinsky6SRVAE",
    "AutoencoderKLCogVideoX",
    "AutoencoderKLCosmos",
    "AutoencoderKLHunyuanVideo",
    "AutoencoderKLHunyuanVideo15",
    "AutoencoderKLLTXVideo",
    "AutoencoderKLLTX2Video",
    "AutoencoderKLMagvit",
    "AutoencoderKLMiniMaxH3",
    "AutoencoderKLMochi",
}
"""Classes that take videos."""
