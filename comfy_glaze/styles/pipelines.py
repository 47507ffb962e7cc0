"""Image generators as diffusers' pipelines: loaded, placed in memory, and asked for a picture."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..devices import fast_dtype
from ..errors import first_line
from ..optional import PackageError, import_part

TASKS = {
    "image-to-image": "AutoPipelineForImage2Image",
    "text-to-image": "AutoPipelineForText2Image",
}

NOT_IN_AUTO = {("image-to-image", "ChromaPipeline"): "ChromaImg2ImgPipeline"}
"""Classes of diffusers that its automatic choice leaves out, by the task and the class saved."""

EDITING = {
    "Flux2Pipeline": "FLUX.2",
    "Flux2KleinPipeline": "FLUX.2 klein",
    "FluxKontextPipeline": "FLUX.1 Kontext",
    "QwenImageEditPipeline": "Qwen-Image-Edit",
    "QwenImageEditPlusPipeline": "Qwen-Image-Edit",
    "QwenImageLayeredPipeline": "Qwen-Image-Layered",
}
"""Pipelines that are told in words what to change: they have no strength to redraw a picture by."""

GUIDANCE = 7.5
"""Of Stable Diffusion 1, 2 and XL.  The others are guided as their pipelines do it by default."""

_SETTINGS: dict[str, dict[str, Any]] = {
    "StableDiffusion": {"guidance_scale": GUIDANCE},
    "StableDiffusion3": {},
    "QwenImage": {"negative_prompt": " "},  # without one it is not guided at all
}
"""What a call is given beside prompt and picture, by how the class's name begins; the longest
beginning counts."""

TURBO = {"guidance_scale": 0.0}
"""For SD, SDXL, SD 3.5 and Z-Image Turbo, as their model cards say."""

ROOM = 2 * 2**30
"""Bytes that must be left on a GPU for what is computed, beside the weights."""


class StyleTransferError(ValueError):
    """A style transfer that cannot be had or cannot draw a style, in one sentence."""


def load_pipeline(
    source: str,
    device: torch.device,
    task: str = "image-to-image",
    dtype: torch.dtype | None = None,
) -> Any:
    """A pipeline of an image generator, silent and without a safety checker.

    On a GPU that is too small for all of its networks, those at work are there and the others
    wait on the CPU; if even the largest is too large, each of its layers comes when it is needed.

    Args:
        source: a folder in diffusers' layout, a hub id, or a .safetensors checkpoint of Stable
            Diffusion 1, 2 or XL.
        task: a key of :data:`TASKS`.
        dtype: of all its parts; None for float32 on the CPU, and elsewhere for float16 with a
            U-Net and the device's better half precision with a transformer.

    Raises:
        StyleTransferError: none can be loaded from ``source``.
    """
    path = Path(source).expanduser()
    try:
        kind = import_part("diffusers", TASKS[task])
    except PackageError as error:
        raise StyleTransferError(f"A pipeline for {task} needs {error}.") from error
    try:
        if path.is_file():
            dtype = dtype or _usual_dtype(device, transformer=False)
            pipeline = single_file_class(path, task).from_single_file(str(path), dtype=dtype)
        else:
            place = str(path) if path.is_dir() else source
            config = import_part("diffusers", "DiffusionPipeline").load_config(place)
            saved = config.get("_class_name") if isinstance(config, dict) else None
            if not isinstance(saved, str):
                raise ValueError("its model_index.json names no pipeline of diffusers")
            if task == "image-to-image" and saved in EDITING:
                raise ValueError(
                    f"{EDITING[saved]} edits a picture as it is told, and cannot redraw it by a "
                    "strength; take embedded, or a checkpoint of another family"
                )
            if (task, saved) in NOT_IN_AUTO:
                kind = import_part("diffusers", NOT_IN_AUTO[task, saved])
            dtype = dtype or _usual_dtype(device, transformer="transformer" in config)
            pipeline = _from_folder(kind, place, dtype)
    except Exception as error:  # each family has ways of its own to dislike its files
        raise StyleTransferError(
            f"No {task} pipeline could be loaded from {source}: {first_line(error)}."
        ) from error
    if getattr(pipeline, "safety_checker", None) is not None:
        pipeline.safety_checker = (
            None  # its false alarms would lead a cloak towards a black picture
        )
    pipeline.set_progress_bar_config(disable=True)
    return _placed(pipeline, device, dtype)


def _from_folder(kind: Any, place: str, dtype: torch.dtype) -> Any:
    """With the usual files of its weights; where these are not there, those in half precision."""
    try:
        return kind.from_pretrained(place, use_safetensors=True, dtype=dtype)
    except OSError as missing:
        try:
            return kind.from_pretrained(place, use_safetensors=True, dtype=dtype, variant="fp16")
        except Exception:
            raise missing from None


def _usual_dtype(device: torch.device, transformer: bool) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return (fast_dtype(device) if transformer else None) or torch.float16


def networks_of(pipeline: Any) -> dict[str, nn.Module]:
    """A pipeline's networks by name."""
    return {k: part for k, part in pipeline.components.items() if isinstance(part, nn.Module)}


def _placed(pipeline: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """On the device, as a whole or in turns."""
    where = placement(
        [
            sum(weight.numel() * weight.element_size() for weight in network.parameters())
            for network in networks_of(pipeline).values()
        ],
        torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None,
    )
    if where == "networks":
        pipeline.enable_model_cpu_offload(device=device)
    elif where == "layers":
        pipeline.enable_group_offload(device, offload_type="leaf_level")
    else:
        pipeline = pipeline.to(device, dtype)
    return pipeline


def placement(sizes: list[int], free: int | None) -> str:
    """What must be on a device at once for networks of these sizes in bytes: ``all`` of them,
    single ``networks`` or single ``layers``.

    Args:
        free: bytes on the device; None where no memory of its own is counted.
    """
    if free is None or sum(sizes) + ROOM <= free:
        return "all"
    return "networks" if max(sizes) + ROOM <= free else "layers"


def block_of(pipeline: Any) -> int:
    """What the sides of a picture must be multiples of: transformers take latents in twos."""
    scale = int(getattr(pipeline, "vae_scale_factor", 8))
    return 2 * scale if "transformer" in pipeline.components else scale


def settings_of(pipeline: Any, source: str, height: int, width: int) -> dict[str, Any]:
    """What a pipeline is given beside prompt, picture and steps: guidance, and its size if asked.

    Args:
        source: the name by which it was loaded, which says whether it is a turbo.
    """
    called = type(pipeline).__name__
    begins = [name for name in _SETTINGS if called.startswith(name)]
    settings = dict(_SETTINGS[max(begins, key=len)]) if begins else {}
    if "turbo" in Path(source).name.lower():
        settings |= TURBO
    asked = inspect.signature(type(pipeline).__call__).parameters
    return settings | {
        name: side for name, side in (("height", height), ("width", width)) if name in asked
    }


def single_file_class(path: Path, task: str) -> Any:
    """SDXL checkpoints carry a second text encoder, those of SD 1 and 2 one."""
    import diffusers
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
    except SafetensorError as error:
        raise ValueError(f"it is not a readable .safetensors file ({error})") from error
    second = any(key.startswith("conditioner.embedders.1.") for key in keys)
    if not second and not any(key.startswith("cond_stage_model.") for key in keys):
        raise ValueError(
            "it holds no text encoder, so it is no whole checkpoint of Stable Diffusion 1, 2 or "
            "XL; of other families name the folder or hub id of the whole pipeline"
        )
    kinds = {
        ("image-to-image", True): diffusers.StableDiffusionXLImg2ImgPipeline,
        ("image-to-image", False): diffusers.StableDiffusionImg2ImgPipeline,
        ("text-to-image", True): diffusers.StableDiffusionXLPipeline,
        ("text-to-image", False): diffusers.StableDiffusionPipeline,
    }
    return kinds[task, second]
