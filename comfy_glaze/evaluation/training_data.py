"""Pictures and captions as a mimic's training sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.artwork import load_artwork
from ..images import resize
from ..networks.captions import Work
from .generators import Prompts, encode_images, encode_prompts


def training_pixels(path: Path, resolution: int) -> Tensor:
    """A picture as a mimic's training sees it: scaled to the resolution, its middle square."""
    pixels = load_artwork(path).pixels
    height, width = pixels.shape[-2:]
    scale = resolution / min(height, width)
    height, width = max(resolution, round(height * scale)), max(resolution, round(width * scale))
    top, left = (height - resolution) // 2, (width - resolution) // 2
    scaled = resize(pixels, height, width).clamp(0, 1)
    return scaled[..., top : top + resolution, left : left + resolution]


@dataclass(frozen=True, eq=False)
class Shelf:
    """Encoded pictures and captions, ready to be drawn from.

    Attributes:
        means, deviations: of each picture's latents, (N, C, h, w).
        prompts: each caption once, and the empty one last.
        caption_of: (N,), which prompt belongs to a picture.
    """

    means: Tensor
    deviations: Tensor
    prompts: Prompts
    caption_of: Tensor

    @classmethod
    def of(cls, pipeline: Any, works: Sequence[Work], resolution: int) -> Shelf:
        """Encode works once, for a whole training."""
        captions = list(dict.fromkeys(work.caption for work in works))
        pictures = (training_pixels(work.path, resolution) for work in works)
        means, deviations = encode_images(pipeline, pictures)
        prompts = encode_prompts(pipeline, [*captions, ""])
        caption_of = torch.tensor([captions.index(work.caption) for work in works])
        return cls(means, deviations, prompts, caption_of)

    def draw(
        self, step: int, batch: int, seed: int, dropout: float, generator: torch.Generator
    ) -> tuple[Tensor, Prompts]:
        """A batch of latents and prompts; every picture once before any comes twice.

        Args:
            step: from 1.
            seed: of the order of the pictures.
            dropout: share of captions replaced by the empty one.
            generator: of the step, for everything else.
        """
        count, first = len(self.means), (step - 1) * batch
        epochs = range(first // count, (first + batch - 1) // count + 1)
        orders = [
            torch.randperm(count, generator=torch.Generator().manual_seed(seed_of(seed, epoch, 1)))
            for epoch in epochs
        ]
        start = first % count
        index = torch.cat(orders)[start : start + batch]
        captions = self.caption_of[index].clone()
        dropped = torch.rand(len(index), generator=generator) < dropout
        captions[dropped] = len(self.prompts.hidden) - 1
        noise = torch.randn(len(index), *self.means.shape[1:], generator=generator)
        device = self.means.device
        on = index.to(device)
        latents = self.means[on] + self.deviations[on] * noise.to(device)
        return latents, self.prompts[captions.to(device)]


def seed_of(seed: int, number: int, purpose: int) -> int:
    """A seed for one step (purpose 0) or one epoch's order (purpose 1) of a run."""
    return (seed * 1_000_003 + number) * 4 + purpose
