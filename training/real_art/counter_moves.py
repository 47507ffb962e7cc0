"""Cheap moves by which a mimic tries to undo a cloak before it trains.

Those on pictures come from the library's countermeasures ("jpeg-420:85", "adverse-cleaner:64" and
so on), or use one clean work, as a mimic may own one that was published before the cloaks.  Those
on latents see what the mimic would train on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from skimage.exposure import match_histograms
from torch import Tensor

from comfy_glaze.countermeasures import apply_countermeasure, parse_cases
from comfy_glaze.countermeasures.tools import Tools

from .autoencoder import quick
from .generator import NOBODY, Prompt, draw
from .objectives import Networks

NOTHING = "none"

LatentMove = Callable[[Tensor, Tensor, Networks], Tensor]
"""From latents (N, 32, h, w), those of clean work (M, 32, h, w), and networks whose generator was
trained apart, to latents (N, 32, h, w)."""


def _colours_matched(pictures: Sequence[Tensor], clean: Tensor) -> list[Tensor]:
    """Each channel's histogram made the clean work's."""
    target = clean[0].permute(1, 2, 0).numpy()
    matched = []
    for picture in pictures:
        found = match_histograms(picture[0].permute(1, 2, 0).numpy(), target, channel_axis=2)
        levels = torch.from_numpy(np.ascontiguousarray(found)).permute(2, 0, 1)[None]
        matched.append(levels.float().clamp(0, 1))
    return matched


def _renormalised(latents: Tensor, clean: Tensor, networks: Networks) -> Tensor:
    """Every channel's mean and spread over all works made the clean work's."""
    over = (0, 2, 3)
    standard = (latents - latents.mean(over, keepdim=True)) / latents.std(over, keepdim=True)
    return standard * clean.std(over, keepdim=True) + clean.mean(over, keepdim=True)


def _round_trip(latents: Tensor, clean: Tensor, networks: Networks) -> Tensor:
    """Φ(D(z)): what a picture's latents are after one pass through the autoencoder."""
    found = []
    for part in torch.split(latents, 8):
        with torch.no_grad(), quick():
            shown = networks.autoencoder.decode(part).clamp(0, 1)
            found.append(networks.autoencoder.encode(shown).float())
    return torch.cat(found)


PURIFIED = 0.3
"""How far purification goes back into noise, as a share of its times."""


def _purified(latents: Tensor, clean: Tensor, networks: Networks) -> Tensor:
    """Latents noised in part and drawn again, asked for nobody (DiffPure, Nie et al., 2022)."""
    if networks.generator is None:
        raise ValueError("Purification needs a generator (--purifier), but none came.")
    nobody = [Prompt(NOBODY)] * len(latents)
    seeds = range(len(latents))
    return draw(networks.generator, nobody, seeds, 1, layouts=latents, strength=PURIFIED)


COLOURS_MATCHED = "colours matched"

LATENT_MOVES: Mapping[str, LatentMove] = {
    "latents renormalised": _renormalised,
    "round trip": _round_trip,
    "purified": _purified,
}
"""By name."""


def changed_pictures(name: str, pictures: Sequence[Tensor], clean: Tensor) -> list[Tensor]:
    """Pictures (1, 3, H, W) after a move; a move on latents leaves them as they are.

    Args:
        name: ``none``, ``colours matched``, a key of :data:`LATENT_MOVES`, or one of the library's
            countermeasures with its amount.
        clean: a work by the artist that nobody has cloaked.

    Raises:
        ValueError: there is no such move.
    """
    if name == NOTHING or name in LATENT_MOVES:
        return list(pictures)
    if name == COLOURS_MATCHED:
        return _colours_matched(pictures, clean)
    (case,) = parse_cases(name, Tools())
    return [
        apply_countermeasure(
            case.countermeasure, picture, case.amount, seed=number, tools=Tools()
        ).clamp(0, 1)
        for number, picture in enumerate(pictures)
    ]


def changed_latents(name: str, latents: Tensor, clean: Tensor, networks: Networks) -> Tensor:
    """Latents after a move; a move on pictures leaves them as they are."""
    move = LATENT_MOVES.get(name)
    return latents if move is None else move(latents, clean, networks)
