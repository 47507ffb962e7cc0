"""Cheap moves by which a mimic tries to undo a cloak, on the latents that it would learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .autoencoder import Autoencoder

CounterMove = Callable[[Tensor, Autoencoder], Tensor]
"""From latents (N, 32, h, w) to latents of the same shape."""


def _round_trip(latents: Tensor, autoencoder: Autoencoder) -> Tensor:
    """Φ(D(z)): what a picture's latents are after one pass through the autoencoder."""
    found = []
    for part in torch.split(latents, 8):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            shown = autoencoder.decode(part).clamp(0, 1)
            found.append(autoencoder.encode(shown).float())
    return torch.cat(found)


COUNTER_MOVES: Mapping[str, CounterMove] = {"round trip": _round_trip}
"""By name."""
