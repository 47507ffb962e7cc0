"""Purification by the user's own diffusion model: the strongest countermeasures known.

No reviewed cloak reliably survives them (Hönig et al., 2024, "Adversarial Perturbations Cannot
Reliably Protect Artists From Generative AI").
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import first_line
from ..images import resize
from ..optional import PackageError, import_part
from ..styles.pipelines import block_of, load_pipeline, settings_of
from .filters import gaussian_noise
from .tools import Countermeasure, CountermeasureError, Tools, required

STEPS = 50  # of the whole schedule; img2img runs the last strength × STEPS of them


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _img2img(source: str, device: torch.device) -> Any:
    return load_pipeline(source, device)


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _upscaler(source: str, device: torch.device) -> Any:
    path = Path(source).expanduser()
    try:
        kind = import_part("diffusers", "StableDiffusionUpscalePipeline")
    except PackageError as error:
        raise CountermeasureError(f"The upscaler needs {error}.") from error
    try:
        pipeline = kind.from_pretrained(
            str(path) if path.is_dir() else source, use_safetensors=True
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise CountermeasureError(
            f"No upscaling pipeline could be loaded from {source}: {first_line(error)}."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, torch.float16 if device.type == "cuda" else torch.float32)


@torch.no_grad()
def _purify(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    """Image-to-image with an empty prompt and a small strength (DiffPure's idea; GrIDPure)."""
    source = required(
        tools.pipeline, "purify needs a Stable Diffusion pipeline: name one with --pipeline."
    )
    pipeline = _img2img(source, image.device)
    block, (height, width) = block_of(pipeline), image.shape[-2:]
    rows, columns = (max(block, side // block * block) for side in (height, width))
    settings = settings_of(pipeline, source, rows, columns) | {"guidance_scale": 1.0}
    cleaned: Tensor = pipeline(
        prompt="",
        image=resize(image, rows, columns).clamp(0, 1),
        strength=amount,
        num_inference_steps=STEPS,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="pt",
        **settings,
    ).images
    return resize(cleaned.float().to(image), height, width)


@torch.no_grad()
def _noisy_upscale(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    """Noise, then Stable Diffusion's ×4 upscaler at noise level 320 (Hönig et al., 2024).

    Differs: the prompt is empty; the authors caption the picture.
    """
    source = required(
        tools.upscaler, "noisy-upscale needs a ×4 upscaling pipeline: name one with --upscaler."
    )
    pipeline, (height, width) = _upscaler(source, image.device), image.shape[-2:]
    enlarged: Tensor = pipeline(
        prompt="",
        image=gaussian_noise(image, amount, seed).clamp(0, 1),
        noise_level=min(320, pipeline.config.max_noise_level - 1),
        num_inference_steps=STEPS,
        guidance_scale=1.0,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="pt",
    ).images
    return resize(enlarged.float().to(image), height, width)


DIFFUSION: dict[str, Countermeasure] = {
    "purify": Countermeasure(
        "redraw a little by Stable Diffusion",
        _purify,
        (0.2, 0.1, 0.3),
        "strength",
        0.02,
        1,
        "pipeline",
        random=True,
    ),
    "noisy-upscale": Countermeasure(
        "add noise, then upscale by Stable Diffusion",
        _noisy_upscale,
        (0.1,),
        "standard deviation",
        0.001,
        1,
        "upscaler",
        random=True,
    ),
}
