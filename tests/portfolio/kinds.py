"""Pictures of the kinds that artists have, and their way through a portfolio, for the tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from comfy_glaze.files.finding import find_artworks
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import plan_outputs, reports_folder
from comfy_glaze.portfolio.run import Outcome, cloak_portfolio
from comfy_glaze.styles.transfer import StyleTransfer

from ..conftest import smooth_picture
from .runs import small_engine

GRAIN = replace(
    small_engine(steps=8),
    # a cloak as fine as a real one: towards random pixels
    encoder=Encoder("fine", "0" * 16, lambda x: x * 2, 2, torch.device("cpu")),
    style_transfer=StyleTransfer(
        "noise",
        lambda image, style, seed: torch.rand(
            image.shape, generator=torch.Generator().manual_seed(seed)
        ),
        lambda style: True,
        lambda: "1" * 16,
    ),
)


def soft(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """A soft picture with some grain, (H, W, 3)."""
    return (smooth_picture(height, width, seed)[0].permute(1, 2, 0) * 255).round().byte().numpy()


def cartoon(height: int = 96, width: int = 112) -> Image.Image:
    """Twelve flat colours in shapes with uneven edges, as an indexed picture."""
    picture = Image.new("P", (width, height), 0)
    picture.putpalette([value for n in range(12) for value in (20 * n, 255 - 17 * n, 60 + 11 * n)])
    draw = ImageDraw.Draw(picture)
    for number in range(1, 12):
        draw.ellipse([7 * number, 5 * number, 7 * number + 31, 5 * number + 23], fill=number)
    return picture


def squares(size: int, count: int = 16, top: int = 0) -> Image.Image:
    """Pixel art, enlarged: ``count`` squares of ``size`` pixels each way, cut at the top."""
    colours = np.random.default_rng(3).integers(0, 9, (count, count)).astype(np.uint8)
    whole = colours.repeat(size, 0).repeat(size, 1)[top:]
    picture = Image.fromarray(np.ascontiguousarray(whole))
    picture.putpalette([value for n in range(9) for value in (25 * n, 90, 230 - 20 * n)])
    return picture


def cloak(
    top: Path, saving: SaveOptions | None = None, few_colours: str = "keep"
) -> dict[str, Outcome]:
    """What becomes of each picture in a folder, by its name below the output folder."""
    engine = replace(
        GRAIN,
        saving=saving or SaveOptions(),
        settings=replace(GRAIN.settings, few_colours=few_colours),
    )
    out = top.parent / "out"
    reports_folder(out).mkdir(parents=True, exist_ok=True)
    manifest = Manifest(reports_folder(out))
    jobs, refused = plan_outputs(find_artworks([top]), out, engine.saving.format, manifest)
    assert not refused
    return {found.job.name: found for found in cloak_portfolio(jobs, engine, manifest)}


def report_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.error is None
    assert outcome.report is not None
    return outcome.report
