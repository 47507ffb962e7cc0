"""A pipeline of each family with random weights, as small as its networks allow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from ..conftest import tiny_sdxl_unet, tiny_text_config, tiny_vae
from ..tiny_clip import LETTERS, letter_tokenizer

VOCABULARY = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", " ", *LETTERS))}
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2}


def words() -> Any:
    """A tokenizer of single letters."""
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=64,
        chat_template="user {% for message in messages %}{{ message['content'] }}{% endfor %}",
    )


def clip(kind: type[Any]) -> Any:
    return kind(tiny_text_config(64, layers=2))


def t5(width: int = 32) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(VOCABULARY), d_model=width, d_ff=32, d_kv=16, num_layers=1, num_heads=2
        )
    )


def flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler()


def shifted_vae(channels: int = 4) -> Any:
    return tiny_vae(32, 64, latent_channels=channels, scaling_factor=0.5, shift_factor=0.1)


def sdxl(folder: Path) -> Any:
    return diffusers.StableDiffusionXLPipeline(
        vae=tiny_vae(32, 64),
        text_encoder=clip(transformers.CLIPTextModel),
        text_encoder_2=clip(transformers.CLIPTextModelWithProjection),
        tokenizer=letter_tokenizer(folder),
        tokenizer_2=letter_tokenizer(folder),
        unet=tiny_sdxl_unet(),
        scheduler=diffusers.EulerDiscreteScheduler(),
    )


def sd3(folder: Path) -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=64,
        pooled_projection_dim=64,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=flow(),
        vae=shifted_vae(),
        text_encoder=clip(transformers.CLIPTextModelWithProjection),
        text_encoder_2=clip(transformers.CLIPTextModelWithProjection),
        text_encoder_3=t5(64),
        tokenizer=letter_tokenizer(folder),
        tokenizer_2=letter_tokenizer(folder),
        tokenizer_3=words(),
    )


def flux(folder: Path) -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return diffusers.FluxPipeline(
        scheduler=flow(),
        vae=shifted_vae(),
        text_encoder=clip(transformers.CLIPTextModel),
        tokenizer=letter_tokenizer(folder),
        text_encoder_2=t5(),
        tokenizer_2=words(),
        transformer=transformer,
    )


def chroma(folder: Path) -> Any:
    transformer = diffusers.ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=16,
        approximator_hidden_dim=32,
        approximator_layers=1,
    )
    return diffusers.ChromaPipeline(
        scheduler=flow(),
        vae=shifted_vae(),
        text_encoder=t5(),
        tokenizer=words(),
        transformer=transformer,
    )


def qwen(folder: Path) -> Any:
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **SMALL,
            **HEADS,
            "vocab_size": len(VOCABULARY),
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default"},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    return diffusers.QwenImagePipeline(
        scheduler=flow(),
        vae=vae,
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=words(),
        transformer=transformer,
    )


def z_image(folder: Path) -> Any:
    config = transformers.Qwen3Config(
        **SMALL, **HEADS, head_dim=8, vocab_size=len(VOCABULARY), max_position_embeddings=512
    )
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=16,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 64, 64],
    )
    return diffusers.ZImagePipeline(
        scheduler=flow(),
        vae=shifted_vae(16),
        text_encoder=transformers.Qwen3Model(config),
        tokenizer=words(),
        transformer=transformer,
    )


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "SDXL": sdxl,
    "SD 3": sd3,
    "FLUX.1": flux,
    "Chroma": chroma,
    "Qwen-Image": qwen,
    "Z-Image": z_image,
}


def saved(family: str, folder: Path) -> str:
    """The folder of a pipeline of that family, in diffusers' layout."""
    torch.manual_seed(0)
    pipeline = FAMILIES[family](folder)
    pipeline.save_pretrained(folder / "pipeline")
    return str(folder / "pipeline")
