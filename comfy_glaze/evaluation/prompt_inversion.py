"""Mimicry without training: words found for pictures by gradient (PEZ; Glaze, §7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.transformers_models import ModelError, load_towers, tensor_of


@dataclass(frozen=True, eq=False)
class Inverter:
    """What finds words for pictures.

    Attributes:
        name: of the model, for the tables.
        find: pictures (1, 3, H, W) in [0, 1] and a seed to words that fit them all.
    """

    name: str
    find: Callable[[Iterable[Tensor], int], str]


WORDS, STEPS = 8, 1000


def load_inverter(
    name: str, device: torch.device | str = "cpu", words: int = WORDS, steps: int = STEPS
) -> Inverter:
    """Prompt inversion by a CLIP.

    Gradient descent on continuous token vectors, whose gradient is always taken at the nearest real
    tokens (Wen et al., NeurIPS 2023: AdamW, rate 0.1, decay 0.1).  The pictures share one prompt:
    the mean of their features is what it is led to.

    Differs: the answer is the best of these tokens after they have been written as text and read
    again, for that is what a generator gets.

    Args:
        name: a CLIP's folder or hub id, best the one whose text half the generator reads with.
        words: tokens of the prompt.

    Raises:
        ModelError: it cannot be loaded, or has no table of tokens.
    """
    device = torch.device(device)
    model, processor, see = load_towers(name, device)
    table = getattr(getattr(model.text_model, "embeddings", None), "token_embedding", None)
    if table is None:
        raise ModelError(f"Expected a CLIP, whose prompts can be searched, but got {name}.")
    tokenizer = processor.tokenizer
    special = set(tokenizer.all_special_ids)
    allowed = torch.tensor([i for i in range(len(tokenizer)) if i not in special], device=device)
    first, last = (
        torch.tensor([token], device=device)
        for token in (tokenizer.bos_token_id, tokenizer.eos_token_id)
    )

    @torch.inference_mode(False)
    @torch.enable_grad()
    def find(pictures: Iterable[Tensor], seed: int) -> str:
        goal = F.normalize(torch.cat([see(picture) for picture in pictures]).clone(), dim=-1)
        goal = F.normalize(goal.mean(dim=0), dim=-1)
        vectors = F.normalize(table.weight[allowed], dim=-1)
        generator = torch.Generator().manual_seed(seed)
        start = allowed[torch.randint(len(allowed), (words,), generator=generator).to(device)]
        soft = table.weight[start].clone().requires_grad_()
        adam = torch.optim.AdamW([soft], lr=0.1, weight_decay=0.1)
        best, found = -1.0, ""
        for _ in range(steps):
            with torch.no_grad():
                nearest = allowed[(F.normalize(soft, dim=-1) @ vectors.T).argmax(dim=1)]
            point = table.weight[nearest].detach().requires_grad_()
            ids = torch.cat([first, nearest, last])[None]
            match = _read(model, table, ids, point)[0] @ goal
            if match.item() > best:  # so far as tokens; a generator will read letters
                text = tokenizer.decode(nearest.tolist()).strip()
                again = torch.tensor([tokenizer(text)["input_ids"]], device=device)
                with torch.no_grad():
                    fit = (F.normalize(tensor_of(model.get_text_features(again)))[0] @ goal).item()
                best, found = max((best, found), (fit, text))
            (soft.grad,) = torch.autograd.grad(-match, point)
            adam.step()
        return found

    return Inverter(Path(name).name, find)


def _read(model: Any, table: Any, ids: Tensor, vectors: Tensor) -> Tensor:
    """The text tower's unit vectors (1, D) of tokens (1, N), the middle ones given as vectors."""

    def in_place(module: Any, arguments: Any, output: Tensor) -> Tensor:
        return torch.cat([output[:, :1], vectors[None], output[:, 1 + len(vectors) :]], dim=1)

    handle = table.register_forward_hook(in_place)
    try:
        return F.normalize(tensor_of(model.get_text_features(input_ids=ids)), dim=-1)
    finally:
        handle.remove()


def inverted_captions(captions: Iterable[str], words: str) -> list[str]:
    """Captions with the found words in the place of "by" and the artist's name."""
    return [f"{caption.rsplit(' by ', 1)[0]} {words}" for caption in captions]
