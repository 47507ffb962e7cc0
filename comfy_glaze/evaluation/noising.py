"""What a denoiser is asked while it learns: latents with noise, and what it should say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .generators import is_flow


@dataclass(frozen=True, eq=False)
class Question:
    """A batch that a denoiser is asked about.

    Attributes:
        noisy: latents (B, C, h, w) with noise.
        times: (B,), as the denoiser takes them.
        target: what it should say, (B, C, h, w).
    """

    noisy: Tensor
    times: Tensor
    target: Tensor


Noising = Callable[[Tensor, torch.Generator], Question]
"""From latents (B, C, h, w) and what draws noise and times to a question."""


def noising_of(pipeline: Any) -> Noising:
    """How a pipeline's latents get their noise: as its scheduler says, or along a straight line."""
    if is_flow(pipeline):
        return _straight
    import diffusers

    return partial(_scheduled, diffusers.DDPMScheduler.from_config(pipeline.scheduler.config))


def _scheduled(scheduler: Any, latents: Tensor, generator: torch.Generator) -> Question:
    """Diffusion: times are drawn evenly; the target is the noise, or v where the model says v."""
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    last = scheduler.config.num_train_timesteps
    times = torch.randint(0, last, (len(latents),), generator=generator).to(latents.device)
    noisy = scheduler.add_noise(latents, noise, times)
    if scheduler.config.prediction_type == "epsilon":
        return Question(noisy, times, noise)
    return Question(noisy, times, scheduler.get_velocity(latents, noise, times))


def _straight(latents: Tensor, generator: torch.Generator) -> Question:
    """A flow along z_σ = (1 − σ) z + σ ε, whose direction ε − z is the target.

    σ is the logistic function of a normal number (Esser et al., 2024), as the common trainers of
    FLUX.1 draw it.  Differs from some of them: σ is not moved with the resolution.
    """
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    sigmas = torch.sigmoid(torch.randn(len(latents), generator=generator)).to(latents.device)
    part = sigmas.view(-1, 1, 1, 1)
    return Question((1 - part) * latents + part * noise, sigmas, noise - latents)
