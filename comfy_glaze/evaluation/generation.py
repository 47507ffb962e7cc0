"""Pictures in the style of: what a mimic asks of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.artwork import Artwork, save_artwork
from ..images import to_grid
from .generators import is_flow


def _pndm(config: Any) -> Any:
    import diffusers

    return diffusers.PNDMScheduler.from_config(config, skip_prk_steps=True)


def _dpm(config: Any) -> Any:
    import diffusers

    return diffusers.DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=True)


def _ddim(config: Any) -> Any:
    import diffusers

    return diffusers.DDIMScheduler.from_config(config)


SAMPLERS: dict[str, Callable[[Any], Any]] = {"pndm": _pndm, "dpm++": _dpm, "ddim": _ddim}
"""Samplers by name: the paper's, that of Hönig et al. (DPM++ 2M Karras), and DDIM."""


@dataclass(frozen=True)
class Generation:
    """How pictures are drawn.

    Attributes:
        sampler: a key of :data:`SAMPLERS`; FLUX.1 is drawn by its own in any case.
        steps: of the sampler.
        guidance: scale of classifier-free guidance.
        images_per_caption: with a seed of its own each.
        resolution: pixels, square.
        seed: the first one.
        at_once: pictures per call.
    """

    sampler: str = "pndm"
    steps: int = 50
    guidance: float = 7.5
    images_per_caption: int = 5
    resolution: int = 512
    seed: int = 0
    at_once: int = 5

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(
                f"Expected a sampler among {', '.join(SAMPLERS)}, but got {self.sampler}."
            )


def planned(prompts: int, settings: Generation, folder: Path) -> list[tuple[Path, int]]:
    """Where the pictures of so many prompts go, each with the number of its prompt."""
    return [
        (folder / f"{caption:03d}-{number}.png", caption)
        for caption in range(prompts)
        for number in range(settings.images_per_caption)
    ]


def generate(
    pipeline: Any,
    prompts: Sequence[str],
    settings: Generation,
    folder: Path,
    on_image: Callable[[int, int], None] | None = None,
) -> list[tuple[Path, int]]:
    """Draw each prompt with several seeds; pictures that are there already are not drawn again.

    Args:
        pipeline: a text-to-image pipeline; its scheduler is left as it was.
        folder: gets ``003-1.png`` for the second picture of the fourth prompt.
        on_image: called with (done, all).

    Returns:
        Each picture's path, with the number of its prompt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = planned(len(prompts), settings, folder)
    seeds = [_seed(settings, i) for i in range(len(drawn))]
    missing = [(*one, s) for one, s in zip(drawn, seeds, strict=True) if not one[0].is_file()]
    usual = pipeline.scheduler
    if not is_flow(pipeline):
        pipeline.scheduler = SAMPLERS[settings.sampler](usual.config)
    try:
        for first in range(0, len(missing), settings.at_once):
            part = missing[first : first + settings.at_once]
            asked, seeds = [prompts[c] for _, c, _ in part], [s for _, _, s in part]
            for (path, _, _), picture in zip(
                part, _draw(pipeline, asked, seeds, settings), strict=True
            ):
                save_artwork(picture[None], Artwork(picture[None]), path)
            if on_image is not None:
                on_image(len(drawn) - len(missing) + first + len(part), len(drawn))
    finally:
        pipeline.scheduler = usual
    return drawn


def _seed(settings: Generation, number: int) -> int:
    return settings.seed * 1_000_003 + number


@torch.no_grad()
def _draw(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], settings: Generation
) -> Tensor:
    """(B, 3, R, R) on the 8-bit grid; each picture's noise depends on its own seed alone."""
    drawn = pipeline(
        prompt=list(prompts),
        height=settings.resolution,
        width=settings.resolution,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        output_type="pt",
    ).images
    return to_grid(drawn.float().cpu().clamp(0, 1))
