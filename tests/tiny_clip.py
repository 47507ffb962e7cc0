"""A CLIP with random weights and a vocabulary of single letters, as transformers saves one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS))


def letter_tokenizer(folder: Path) -> transformers.CLIPTokenizer:
    """A tokenizer of 16 letters at most, whose files lie in ``folder``."""
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16
    )


def write_clip(folder: Path) -> None:
    """Save it to a folder, with all that a processor needs."""
    folder.mkdir(parents=True)
    text = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    torch.manual_seed(0)
    model = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    )
    size = {"height": 32, "width": 32}
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    model.save_pretrained(folder)
    transformers.CLIPProcessor(pictures, letter_tokenizer(folder)).save_pretrained(folder)
