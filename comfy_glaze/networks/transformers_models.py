"""Models that the user names, through transformers: CLIP or SigLIP, image towers, captioners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import first_line
from ..images import LEVELS
from ..optional import PackageError, import_optional


class ModelError(ValueError):
    """A model that cannot be had, in one sentence."""


def _load(kind: str, name: str, device: torch.device) -> tuple[Any, Any]:
    """A model of an auto class and its processor, from a folder or the hub; safetensors only."""
    try:
        transformers = import_optional("transformers", "transformers", "transformers")
    except PackageError as error:
        raise ModelError(f"{name} needs {error}.") from error
    try:
        processor = transformers.AutoProcessor.from_pretrained(name)
        model = getattr(transformers, kind).from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ModelError(f"No model could be loaded from {name}: {first_line(error)}.") from error
    return model.eval().requires_grad_(False).to(device), processor


def _arrays(images: Tensor) -> list[Any]:
    """(B, 3, H, W) in [0, 1] to a list of (H, W, 3) bytes, which every processor takes."""
    levels = (images.clamp(0, 1) * LEVELS).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [np.ascontiguousarray(picture) for picture in levels]


def load_image_tower(name: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Pooled image features (B, D) of images (B, 3, H, W) in [0, 1]: CLIP, SigLIP, DINO, ViT ..."""
    model, processor = _load("AutoModel", name, device)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        inputs = processor(images=_arrays(images), return_tensors="pt")
        pixels = inputs["pixel_values"].to(device)
        if hasattr(model, "get_image_features"):
            return tensor_of(model.get_image_features(pixel_values=pixels))
        return tensor_of(model(pixel_values=pixels))

    return features


def tensor_of(output: Any) -> Tensor:
    """The pooled vector of a model's output, which newer versions wrap."""
    if isinstance(output, Tensor):
        return output
    pooled = getattr(output, "pooler_output", None)
    chosen: Tensor = output.last_hidden_state[:, 0] if pooled is None else pooled
    return chosen


def load_towers(name: str, device: torch.device) -> tuple[Any, Any, Callable[[Tensor], Tensor]]:
    """CLIP or SigLIP: the model, its processor, and what sees: images (B, 3, H, W) to (B, D)."""
    model, processor = _load("AutoModel", name, device)
    if not hasattr(model, "get_text_features"):
        raise ModelError(
            f"Expected a model with an image and a text tower (CLIP, SigLIP), but {name} is a "
            f"{type(model).__name__}."
        )

    @torch.no_grad()
    def see(images: Tensor) -> Tensor:
        inputs = processor(images=_arrays(images), return_tensors="pt")
        return tensor_of(model.get_image_features(pixel_values=inputs["pixel_values"].to(device)))

    return model, processor, see


def load_text_matcher(
    name: str, sentences: Sequence[str], device: torch.device
) -> Callable[[Tensor], Tensor]:
    """How well pictures fit sentences, (B, S): cosines of CLIP's or SigLIP's two towers.

    Args:
        sentences: S of them, encoded once.
    """
    model, processor, see = load_towers(name, device)
    padding = "max_length" if "siglip" in type(model).__name__.lower() else True
    tokens = processor(text=list(sentences), return_tensors="pt", padding=padding, truncation=True)
    with torch.no_grad():
        texts = tensor_of(model.get_text_features(**{k: v.to(device) for k, v in tokens.items()}))
        texts = torch.nn.functional.normalize(texts, dim=-1)

    def scores(images: Tensor) -> Tensor:
        return torch.nn.functional.normalize(see(images), dim=-1) @ texts.T

    return scores


def load_captioner(name: str, device: torch.device) -> Callable[[Tensor], str]:
    """A captioner (BLIP, GIT ...): one sentence for a picture (1, 3, H, W) in [0, 1]."""
    model, processor = _load("AutoModelForImageTextToText", name, device)

    @torch.no_grad()
    def describe(image: Tensor) -> str:
        inputs = processor(images=_arrays(image), return_tensors="pt").to(device)
        tokens = model.generate(**inputs, max_new_tokens=30, do_sample=False)
        sentence: str = processor.batch_decode(tokens, skip_special_tokens=True)[0]
        return sentence.strip() or f"a picture ({Path(name).name} had no words)"

    return describe
