"""A mimic: the generator fine-tuned on one artist's works, and what it then draws."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor

from comfy_glaze.judges.features import kernel_distance, noise_level

from .autoencoder import Autoencoder, quick
from .generator import MIMICKED, Generator, Prompt, draw, loss_of
from .judges import Judges
from .loaders import LOADERS, area
from .pictures import Piece, load_square, words_of
from .world import TRAINED

_AT_ONCE = 12
_COMPARED = 32  # pixels at which drawings are compared with works


@dataclass(frozen=True)
class Tuning:
    """How a mimic trains: all weights of the U-Net and the prompt's, or LoRA.

    Attributes:
        steps, batch: of AdamW.
        rate: the largest learning rate, reached after ``warm_up`` steps; it falls to a tenth.
        seed: decides everything random; the drawings' seeds follow from it.
        rank: of LoRA on every layer of the U-Net, with the artist's name; 0 for all weights.
    """

    steps: int = 300
    batch: int = 8
    rate: float = 8e-4
    warm_up: int = 50
    seed: int = 0
    rank: int = 0

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 1."""
        return self.rate * min(1.0, step / self.warm_up) * (1 - 0.9 * step / self.steps)


@dataclass(frozen=True)
class Drawing:
    """What a mimic is asked for.

    Attributes:
        prompts: drawings from words alone.
        layouts: drawings that start from a work by somebody else.
        guidance, steps, strength: see :func:`generator.draw`.
    """

    prompts: int = 24
    layouts: int = 24
    guidance: float = 2.0
    steps: int = 25
    strength: float = 0.85


def latents_of(
    pictures: Sequence[Tensor], autoencoder: Autoencoder, loader: str, seed: int
) -> Tensor:
    """What a mimic trains on: each picture (1, 3, 256, 256) loaded, and its reflection."""
    order, found = random.Random(seed), []
    for picture in pictures:
        for view in (picture, picture.flip(-1)):
            loaded = LOADERS[loader](view, TRAINED, order)
            with torch.no_grad(), quick():
                found.append(autoencoder.encode(loaded).float())
    return torch.cat(found)


def fine_tuned(
    generator: Generator, latents: Tensor, titles: Sequence[str], tuning: Tuning
) -> tuple[Generator, float]:
    """A copy of the generator that has learned latents (N, 32, 16, 16), and its last losses' mean.

    Args:
        titles: one for each of the latents.
    """
    mimic = copy.deepcopy(generator).train()
    names = mimic.shape.names
    with torch.no_grad():  # a name that no training has touched begins as everybody's mean
        known = [i for i, name in enumerate(names) if name != MIMICKED]
        mimic.names.weight[names.index(MIMICKED)] = mimic.names.weight[known].mean(dim=0)
    prompts = [Prompt(MIMICKED, tuple(words_of(title))) for title in titles]
    if tuning.rank:
        _add_lora(mimic, tuning)
    learned = [weights for weights in mimic.parameters() if weights.requires_grad]
    adam = torch.optim.AdamW(learned, lr=tuning.rate, weight_decay=1e-2)
    normalised, losses = mimic.normalised(latents), []
    for step in range(1, tuning.steps + 1):
        random_step = torch.Generator().manual_seed(tuning.seed * 1_000_003 + step)
        chosen = torch.randint(0, len(latents), (tuning.batch,), generator=random_step)
        asked = [prompts[i] for i in chosen.tolist()]
        for group in adam.param_groups:
            group["lr"] = tuning.rate_at(step)
        loss = loss_of(mimic, normalised[chosen], asked, random_step)
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        adam.step()
        losses.append(float(loss.detach()))
    last = losses[-50:]
    return mimic.eval(), sum(last) / max(1, len(last))


def _add_lora(mimic: Generator, tuning: Tuning) -> None:
    """Leave the U-Net as it is but for low-rank changes of its layers (Hu et al., 2022)."""
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    layers = [name for name, layer in mimic.unet.named_modules() if isinstance(layer, kinds)]
    config = LoraConfig(r=tuning.rank, lora_alpha=tuning.rank, target_modules=layers)
    with torch.random.fork_rng():
        torch.manual_seed(tuning.seed)
        inject_adapter_in_model(config, mimic.unet)
    mimic.words.requires_grad_(False)


def drawn(
    mimic: Generator,
    autoencoder: Autoencoder,
    titles: Sequence[str],
    others: Sequence[Piece],
    drawing: Drawing,
    seed: int,
) -> dict[str, Tensor]:
    """Pictures (B, 3, 128, 128) by ``prompts`` and ``layouts``.

    Args:
        titles: of works that the mimic has not seen, taken in turn.
        others: whose layouts are redrawn, in turn, with the same titles' words.
    """
    prompts = [
        Prompt(MIMICKED, tuple(words_of(titles[i % len(titles)]))) for i in range(drawing.prompts)
    ]
    pictures = {"prompts": _in_parts(mimic, autoencoder, prompts, drawing, seed, None)}
    own = [Prompt(MIMICKED, tuple(words_of(others[i].title))) for i in range(drawing.layouts)]
    starts = latents_of([load_square(p.path) for p in others], autoencoder, "area", 0)[::2]
    pictures["layouts"] = _in_parts(mimic, autoencoder, own, drawing, seed + 1, starts)
    return pictures


def _in_parts(
    mimic: Generator,
    autoencoder: Autoencoder,
    prompts: Sequence[Prompt],
    drawing: Drawing,
    seed: int,
    starts: Tensor | None,
) -> Tensor:
    made = []
    for first in range(0, len(prompts), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        seeds = [seed * 1_000_003 + i for i in range(len(prompts))[part]]
        latents = draw(
            mimic,
            prompts[part],
            seeds,
            guidance=drawing.guidance,
            steps=drawing.steps,
            layouts=None if starts is None else starts[part],
            strength=drawing.strength,
        )
        with torch.no_grad(), quick():
            made.append(autoencoder.decode(latents).float().clamp(0, 1))
    return torch.cat(made)


def measured(
    pictures: dict[str, Tensor],
    judges: Judges,
    hand: str,
    trained: Sequence[Tensor],
    unseen: Sequence[Tensor],
) -> dict[str, Any]:
    """Shares in the artist's style, log-odds, nearness to the works, and quality.

    Args:
        pictures: as :func:`drawn` gives them.
        hand: the artist's.
        trained: the originals of the works that the mimic had, squares (1, 3, 256, 256).
        unseen: the artist's other works.

    Returns:
        For ``prompts`` and ``layouts``: by judge, ``share`` and, for each drawing, ``names`` and
        ``log_odds``; ``nearest``, the mean distance of drawings to the nearest trained work over
        that of unseen works (well below 1: the mimic repeats its works); ``noise`` in grey levels;
        and ``kernel``, the kernel distance to the artist's works.
    """
    report: dict[str, Any] = {}
    works = [area(picture, TRAINED) for picture in (*trained, *unseen)]
    usual = float(nearest(torch.cat(list(unseen)), trained).mean())
    own = judges.extractor.of(works)
    for label, made in pictures.items():
        said = judges.ask(made, hand)
        row: dict[str, Any] = {}
        for sight, answers in said.items():
            names = answers["names"]
            row[sight] = {
                "share": names.count(hand) / len(names),
                "log_odds": [round(value, 3) for value in answers["log_odds"]],
                "names": names,
            }
        row["nearest"] = float(nearest(made, trained).mean()) / usual
        row["noise"] = float(noise_level(made).mean())
        row["kernel"] = kernel_distance(own, judges.extractor.of([one[None] for one in made])).value
        report[label] = row
    return report


def nearest(pictures: Tensor, works: Sequence[Tensor]) -> Tensor:
    """The rms distance (B,) of pictures to the nearest work or reflection, both at 32 px."""
    shelf = area(torch.cat([view for work in works for view in (work, work.flip(-1))]), _COMPARED)
    small = area(pictures, _COMPARED)
    distances = torch.cdist(small.flatten(1), shelf.flatten(1)) / small[0].numel() ** 0.5
    closest: Tensor = distances.amin(dim=1)
    return closest


def settings_of(tuning: Tuning, drawing: Drawing) -> dict[str, Any]:
    """For the record of a cell."""
    return {"tuning": asdict(tuning), "drawing": asdict(drawing)}
