"""What a mimic does to a picture, and what is left of a cloak afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..comfy_glaze.cloaking.objectives import AUTO, objective_for
from ..comfy_glaze.cloaking.quality import measure_quality
from ..comfy_glaze.countermeasures import (
    COUNTERMEASURES,
    SETS,
    Case,
    apply_countermeasure,
    parse_cases,
)
from ..comfy_glaze.countermeasures.retention import Retention, measure_retention, worst_first
from ..comfy_glaze.countermeasures.tools import Tools, from_pillow
from ..comfy_glaze.images import to_grid
from ..comfy_glaze.networks.encoders import Encoder
from ..comfy_glaze.networks.perceptual import PERCEPTUAL_METRICS, PerceptualMetric
from ..comfy_glaze.portfolio.measuring import measure_pictures
from ..comfy_glaze.portfolio.sheet import draw_measured
from .cloak import objective_widget
from .host.encoders import borrowed_encoder, seen_through, tools_of, with_encoder
from .host.running import progress
from .sockets import CATEGORY, advanced, each, encoder_input, from_images, to_images

IN_GRAPHS = {
    one.words: name
    for name, one in COUNTERMEASURES.items()
    if one.needs not in ("pipeline", "upscaler")
}
"""Countermeasures by their words; the rest are graphs of the host's own nodes."""

CHOICES = (*SETS, "all", "none", "custom")


class ApplyCountermeasure(io.ComfyNode):
    """What happens to a picture on the web, or at a mimic's."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeApplyCountermeasure",
            display_name="Apply Countermeasure (Glaze)",
            category=CATEGORY,
            description="Changes pictures as an upload, an editor or a mimic would, so that you "
            "can see what becomes of them. Sizes and transparency stay.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures to change."),
                io.Combo.Input(
                    "countermeasure",
                    options=list(IN_GRAPHS),
                    default=next(iter(IN_GRAPHS)),
                    tooltip="What is done to the pictures. Uploads are made smaller as the site "
                    "does, and saved as JPEG. IMPRESS and the VAE need an encoder.",
                ),
                io.Float.Input(
                    "amount",
                    default=0.0,
                    min=0.0,
                    max=10000.0,
                    step=0.01,
                    round=0.001,
                    tooltip="0 for the usual amount: JPEG quality 75, half the size and back, "
                    "noise of 0.05. In the unit that the help page gives for each.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**32 - 1,
                    control_after_generate=False,
                    tooltip="For noise, cropping and IMPRESS: the same seed does the same.",
                ),
                encoder_input(
                    optional=True,
                    tooltip="Only for what goes through an image model: a checkpoint's VAE. "
                    "IMPRESS takes the embedded encoder.",
                ),
            ],
            outputs=[io.Image.Output("changed", display_name="changed")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, image: Tensor, countermeasure: str, amount: float, seed: int, encoder: Any = None
    ) -> Any:
        tools = tools_of(encoder)
        on_picture = progress(cls.hidden.unique_id if cls.hidden else None)
        changed = []
        for number, picture in enumerate(each(to_images(image).clamp(0, 1))):
            on_picture(number, len(image))
            name = IN_GRAPHS[countermeasure]
            changed.append(apply_countermeasure(name, picture, amount or None, seed, tools))
        on_picture(len(image), len(image))
        pixels = from_images(torch.cat(changed))
        return io.NodeOutput(torch.cat([pixels, image[..., 3:].to(pixels)], dim=-1))


class MeasureCloak(io.ComfyNode):
    """How far a cloak leads, how much it shows, and what is left of it."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeMeasureCloak",
            display_name="Measure Cloak (Glaze)",
            category=CATEGORY,
            description="Measures how far a cloak leads an encoder, how much of it can be seen, "
            "and what uploads, editors and mimics leave of it.",
            is_output_node=True,
            inputs=[
                io.Image.Input("original", tooltip="The pictures before cloaking."),
                io.Image.Input("cloaked", tooltip="The same pictures, cloaked, same size."),
                io.Image.Input(
                    "styled", tooltip="The same pictures redrawn, which the cloak leads towards."
                ),
                encoder_input(
                    tooltip="What looks at the pictures: the VAE that the cloak was made for, or "
                    "another one, to see whether it is misled, too."
                ),
                io.Combo.Input(
                    "countermeasures",
                    options=list(CHOICES),
                    default="everyday",
                    tooltip="What is tried on the cloak. web: uploads and file formats. everyday: "
                    "editors, too. all: everything that can run here, which takes long. none: only "
                    "measure. custom: the list below.",
                ),
                advanced(
                    io.String.Input(
                        "custom",
                        default="jpeg-420:75,noise",
                        tooltip="For custom: names as on the command line with commas between "
                        "them, each alone or with an amount.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "draws",
                        default=3,
                        min=1,
                        max=100,
                        tooltip="How often what is random, such as noise, is tried; the mean "
                        "counts.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "metric",
                        options=["auto", *PERCEPTUAL_METRICS],
                        default="auto",
                        tooltip="How the difference that an eye would see is measured; as in "
                        "Budget.",
                    )
                ),
                objective_widget(
                    "What the cloak was led by, as in Cloak; the shift is measured so."
                ),
            ],
            outputs=[
                io.String.Output(
                    "report", display_name="report", tooltip="All that was measured, as JSON."
                ),
                io.Image.Output(
                    "sheet",
                    display_name="sheet",
                    tooltip="The most visible place at 100%, and a table of what is left.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        original: Tensor,
        cloaked: Tensor,
        styled: Tensor,
        encoder: Any,
        countermeasures: str,
        custom: str,
        draws: int,
        metric: str,
        objective: str = AUTO,
    ) -> Any:
        led_by = objective_for(objective, "fast")
        triples = _triples(original, cloaked, styled)
        tools = tools_of(encoder)
        named = custom if countermeasures == "custom" else countermeasures
        cases = [] if named == "none" else parse_cases(named, tools)
        on_case = progress(cls.hidden.unique_id if cls.hidden else None)
        reports, sheets = [], []
        for number, triple in enumerate(triples):
            on_done = partial(_count, on_case, number * len(cases), len(triples) * len(cases))
            measured = _measured(triple, encoder, metric, led_by)
            rows = _left(triple, encoder, cases, draws, tools, on_done, led_by)
            told = [row.as_json() | {"words": row.case.words} for row in rows]
            reports.append(measured | {"countermeasures": told})
            seen = seen_through(encoder, triple[0], triple[1])
            sheets.append(draw_measured(triple[0], triple[1], measured, rows, seen))
        text = json.dumps({"pictures": reports}, indent=2, ensure_ascii=False)
        return io.NodeOutput(text, _together(sheets), ui={"glaze_measured": reports})


Triple = tuple[Tensor, Tensor, Tensor]
"""Original, cloaked and styled, (1, 3, H, W) in [0, 1] each."""


def _triples(original: Tensor, cloaked: Tensor, styled: Tensor) -> list[Triple]:
    wired = {"original": original, "cloaked": cloaked, "styled": styled}
    batches = {name: to_grid(to_images(batch).clamp(0, 1)) for name, batch in wired.items()}
    for name, batch in batches.items():
        if batch.shape != batches["original"].shape:
            raise ValueError(
                f"{name!r} must have the number and size of 'original', "
                f"{tuple(batches['original'].shape)}, but it has {tuple(batch.shape)}."
            )
    return list(zip(*(each(batch) for batch in batches.values()), strict=True))


def _count(on_case: Callable[[int, int], None], before: int, of: int, done: int) -> None:
    on_case(before + done, of)


def _left(
    triple: Triple,
    encoder: Any,
    cases: list[Case],
    draws: int,
    tools: Tools,
    on_done: Callable[[int], None],
    objective: str,
) -> list[Retention]:
    """What countermeasures leave of one cloak, worst first."""
    if not cases:
        return []
    original, cloaked, styled = triple
    (rows,) = measure_retention(
        original,
        cloaked,
        styled,
        borrowed_encoder(encoder),
        cases,
        objective=objective,
        seeds=range(draws),
        tools=tools,
        on_case=lambda number, of, case: on_done(number - 1),
    )
    on_done(len(cases))
    return worst_first(rows)


def _measured(triple: Triple, encoder: Any, metric: str, objective: str) -> dict[str, Any]:
    """The measures of one cloak under the report's keys."""
    original, cloaked, _ = triple

    def measure(phi: Encoder, distance: PerceptualMetric | None) -> dict[str, Any]:
        assert distance is not None  # only the metric 'none' is none
        before, after, towards = (picture.to(phi.device) for picture in triple)
        measures = measure_pictures(before, after, towards, phi, distance, objective)
        return measures | {"rehearsal": phi.is_rehearsal}

    height, width = original.shape[-2:]
    measured = with_encoder(encoder, metric, (height, width), measure)
    return measured | {"quality": asdict(measure_quality(original, cloaked))}


def _together(sheets: list[Image.Image]) -> Tensor:
    """Sheets as one batch, (B, H, W, 3); the smaller ones get a margin."""
    size = max(one.width for one in sheets), max(one.height for one in sheets)
    paper = [Image.new("RGB", size, sheet.getpixel((0, 0))) for sheet in sheets]
    for page, sheet in zip(paper, sheets, strict=True):
        page.paste(sheet, (0, 0))
    return from_images(torch.cat([from_pillow(page) for page in paper]))


NODES = [ApplyCountermeasure, MeasureCloak]
