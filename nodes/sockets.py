"""Each custom socket once, with what it carries from node to node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.files.formats import MIN_SIDE
from ..comfy_glaze.portfolio.cloaked import CloakedPicture

CATEGORY = "Glaze"

StyleBankSocket = io.Custom("GLAZE_STYLE_BANK")  # a StyleBank, or BUILT_IN
TargetStyleSocket = io.Custom("GLAZE_TARGET_STYLE")  # a TargetStyle
BudgetSocket = io.Custom("GLAZE_BUDGET")  # a Budget
EncoderSocket = io.Custom("GLAZE_ENCODER")  # an Encoder, one of the host's VAEs, or an Ensemble
CloakSocket = io.Custom("GLAZE_CLOAK")  # a CloakedBatch
ArtworkSocket = io.Custom("GLAZE_ARTWORK")  # an Artwork

BUILT_IN = "built in"
"""The bank that is made for whatever encoder asks for it."""


def encoder_input(tooltip: str, id: str = "encoder", optional: bool = False) -> Any:
    """An input for Φ, which takes the checkpoint's own VAE as well."""
    types = [io.Vae, EncoderSocket]
    return io.MultiType.Input(id, types=types, optional=optional, tooltip=tooltip)


def advanced(widget: Any) -> Any:
    """Fold a widget away, also where the host has no argument for it: every page knows the key."""
    widget.extra_dict["advanced"] = True
    return widget


def seed_widget(id: str, tooltip: str, largest: int = 2**32 - 1) -> Any:
    """A seed that stays as it is from run to run."""
    return io.Int.Input(
        id, default=0, min=0, max=largest, control_after_generate=False, tooltip=tooltip
    )


def percent_widget(id: str, default: float, tooltip: str) -> Any:
    """A share of all, folded away."""
    return advanced(
        io.Float.Input(id, default=default, min=0.0, max=100.0, step=1.0, tooltip=tooltip)
    )


def sampling_widgets(steps: int, denoise: float, cfg_tooltip: str, tooltip: str) -> list[Any]:
    """How the checkpoint redraws: steps, cfg, and denoise, which the last tooltip is of."""
    return [
        io.Int.Input(
            "steps", default=steps, min=1, max=200, tooltip="Sampling steps of the checkpoint."
        ),
        io.Float.Input(
            "cfg", default=7.5, min=0.0, max=100.0, step=0.5, round=0.01, tooltip=cfg_tooltip
        ),
        io.Float.Input("denoise", default=denoise, min=0.0, max=1.0, step=0.01, tooltip=tooltip),
    ]


def short_side_widget(default: int, tooltip: str) -> Any:
    """The size at which the checkpoint draws."""
    return advanced(
        io.Int.Input("short_side", default=default, min=64, max=4096, step=64, tooltip=tooltip)
    )


def style_filters() -> list[Any]:
    """Widgets that leave styles out."""
    return [
        io.String.Input(
            "genres",
            default="",
            tooltip="Only styles of these genres, with commas between them (Rococo, Cubism); "
            "empty for all.",
        ),
        io.Boolean.Input(
            "without_living",
            default=False,
            tooltip="Leave out painters who may be living: all for whom no year of death "
            "was found.",
        ),
    ]


def listed(text: str) -> list[str]:
    """The parts of a text with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several encoders to be led at once: (an encoder or one of the host's VAEs, its weight)."""

    members: tuple[tuple[Any, float], ...]


@dataclass(frozen=True, eq=False)
class CloakedBatch:
    """Cloaked pictures on their way to be saved or measured.

    Attributes:
        pictures: one after the other, on the CPU; what is saved along with them is not known yet.
        encoder: what came in through the encoder's socket.
        caption: what a text file beside each saved picture says; None for no such file.
    """

    pictures: tuple[CloakedPicture, ...]
    encoder: Any
    caption: str | None = None


def to_images(image: Tensor) -> Tensor:
    """The host's pictures (B, H, W, 3 or 4) as the library's (B, 3, H, W)."""
    return image[..., :3].movedim(-1, 1).float()


def check_sides(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W), large enough to be cloaked.

    Raises:
        ValueError: a side is too short.
    """
    height, width = pictures.shape[-2:]
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"Expected pictures of at least {MIN_SIDE} × {MIN_SIDE} pixels, but got {width} × "
            f"{height}."
        )
    return pictures


def each(images: Tensor) -> list[Tensor]:
    """The pictures of a batch (B, 3, H, W), one by one, (1, 3, H, W) each."""
    return [images[number : number + 1] for number in range(len(images))]


def one_by_one(lists: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """What the host would call a node with, once for each entry of the longest list, had the node
    not asked for the lists as a whole.  Shorter lists go on with their last entry."""
    count = max(len(values) for values in lists.values())
    return [
        {name: values[min(number, len(values) - 1)] for name, values in lists.items()}
        for number in range(count)
    ]


def from_images(images: Tensor) -> Tensor:
    """The library's pictures (B, 3, H, W) as the host's (B, H, W, 3)."""
    return images.movedim(1, -1).contiguous().cpu()


def to_masks(mask: Tensor, images: Tensor) -> Tensor:
    """The host's mask (H, W) or (B, H, W) for pictures (B, 3, H, W), as (B, 1, H, W).

    One mask serves all pictures of a batch.  The host's stand-in for "no mask", 64 × 64 of zeros,
    covers nothing at any size.

    Raises:
        ValueError: another size or number than the pictures'.
    """
    masks = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    size = tuple(images.shape[-2:])
    if tuple(masks.shape[-2:]) != size and not bool(masks.any()):
        masks = torch.zeros(1, 1, *size)
    if tuple(masks.shape[-2:]) != size or len(masks) not in (1, len(images)):
        raise ValueError(
            f"The mask at 'keep_clear' must be {size[1]} × {size[0]} like the pictures, but it is "
            f"{masks.shape[-1]} × {masks.shape[-2]} (masks: {len(masks)}, pictures: {len(images)})."
        )
    return masks.expand(len(images), -1, -1, -1)
