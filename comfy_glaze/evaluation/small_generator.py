"""A Stable Diffusion small enough to train from nothing: the lab's own world.

It is a real ``StableDiffusionPipeline`` around the embedded autoencoder, so that everything that
works on it works on a real checkpoint.  Its text encoder is random and stays so: each word has a
vector of its own, which the U-Net learns to read.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..networks.encoder_files import embedded_autoencoder

_WORDS_AT_MOST = 24  # tokens per prompt, both ends included


@dataclass(frozen=True)
class Size:
    """How large the U-Net is.

    Attributes:
        channels: per level; each level halves the latents' side.
        layers: residual blocks per level.
        text: width of a word's vector.
    """

    channels: tuple[int, ...]
    layers: int
    text: int


SIZES: dict[str, Size] = {
    "tiny": Size((32, 64), 1, 32),
    "cores": Size((64, 96, 128), 1, 64),
    "gpu": Size((160, 320, 480), 2, 128),
}
"""For tests, for a few hours on two cores, and for twenty minutes on a data-centre GPU."""


def build_generator(folder: Path, sentences: Iterable[str], size: Size, seed: int = 0) -> None:
    """Write an untrained pipeline to a folder.

    Args:
        sentences: captions; each of their words becomes one token where it can, any other word is
            spelled.
        seed: of all random weights.
    """
    import diffusers
    import transformers

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = _tokenizer(Path(scratch), sentences)
    text_encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.text,
            intermediate_size=2 * size.text,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=_WORDS_AT_MOST,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    vae = embedded_autoencoder()
    levels = len(size.channels)
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=vae.config.latent_channels,  # type: ignore[union-attr]
        out_channels=vae.config.latent_channels,  # type: ignore[union-attr]
        block_out_channels=size.channels,
        layers_per_block=size.layers,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
        cross_attention_dim=size.text,
        attention_head_dim=8,
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae.float(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type="v_prediction",  # noise alone would teach the palette last
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def _tokenizer(scratch: Path, sentences: Iterable[str]) -> "transformers.CLIPTokenizer":  # type: ignore[name-defined]  # noqa: F821, UP037
    """CLIP's tokenizer with a vocabulary of these sentences' words, and single letters."""
    import transformers

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = ["<|startoftext|>", "<|endoftext|>"]
    vocabulary += [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    words = {word for sentence in sentences for word in sentence.casefold().split()}
    for word in sorted(word for word in words if word.isalnum() and word.isascii()):
        built, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for symbol in rest:
            merge, built = f"{built} {symbol}", built + symbol
            if merge not in merges:
                merges.append(merge)
                vocabulary.append(built)
    numbers = {token: i for i, token in enumerate(dict.fromkeys(vocabulary))}
    (scratch / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    text = "\n".join(["#version: 0.2", *merges])
    (scratch / "merges.txt").write_text(text + "\n", encoding="utf-8")
    return transformers.CLIPTokenizer(
        str(scratch / "vocab.json"),
        str(scratch / "merges.txt"),
        model_max_length=_WORDS_AT_MOST,
    )
