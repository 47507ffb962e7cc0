"""Concept poison: the cloak's own optimisation, led to a picture of another concept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.cloaking.budget import NIGHTSHADE
from ..comfy_glaze.poison.anchors import check_concepts, drawn_for, fitted, poison_words, prompt_of
from .cloak import Task, clear_input, cloak_each, how_widgets, made_outputs, run_lists
from .host.running import LiveRun
from .sockets import CATEGORY, BudgetSocket, CloakedBatch, each, encoder_input, to_images


class NightshadePoison(io.ComfyNode):
    """δ that leads a picture of one concept to a picture of another."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeNightshadePoison",
            display_name="Nightshade Poison (Glaze)",
            category=CATEGORY,
            description="Poison for a concept, not a cloak for a style: pictures of dogs that a "
            "model reads as cats. It aims at models that others train; use it only on pictures "
            "that you may change and publish.",
            inputs=[
                io.Image.Input("image", tooltip="Pictures that show the concept plainly."),
                io.Image.Input(
                    "anchor",
                    tooltip="A picture of the other concept, or several, of which each of your "
                    "pictures gets one; loaded, or drawn by the checkpoint. Cut to your picture's "
                    "shape.",
                ),
                encoder_input(
                    tooltip="The VAE of the model whose training you mean, straight from its "
                    "checkpoint."
                ),
                BudgetSocket.Input(
                    "budget",
                    optional=True,
                    tooltip="How much may change. Without one: the paper's limit of 0.07, and 10 "
                    "grey levels.",
                ),
                clear_input(),
                io.String.Input(
                    "concept", default="dog", tooltip="What the pictures show, in a word or a few."
                ),
                io.String.Input(
                    "towards",
                    default="cat",
                    tooltip="What the anchor shows: a model shall draw it in the concept's place.",
                ),
                io.String.Input(
                    "caption",
                    default="",
                    tooltip="Saved beside each picture as a .txt file. Empty: a photo of the "
                    "concept, in these words.",
                ),
                *how_widgets("poison"),
            ],
            outputs=made_outputs("poisoned"),
            is_input_list=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, **lists: list[Any]) -> Any:
        """Takes the host's lists as a whole, as the Cloak node does."""
        return run_lists(cls.hidden, lists, _poison_batch)


def _poison_batch(
    live: LiveRun, task: Task, anchor: Tensor, concept: str, towards: str, caption: str
) -> CloakedBatch:
    """Pictures of one size, poisoned towards anchors (N, H, W, 3)."""
    check_concepts(concept, towards)
    anchors, count = each(to_images(anchor).clamp(0, 1)), len(task.pictures)
    numbers = [
        number if len(anchors) == count else drawn_for(picture, len(anchors), task.settings.seed)
        for number, picture in enumerate(each(task.pictures))
    ]
    size = task.pictures.shape[-2:]
    chosen = torch.cat([fitted(anchors[number], *size) for number in numbers])
    task = replace(task, budget=task.budget or NIGHTSHADE)
    poisoned = tuple(
        replace(picture, poison=poison_words(concept, towards, f"picture {number + 1}"))
        for picture, number in zip(cloak_each(live, task, chosen), numbers, strict=True)
    )
    said = " ".join(caption.split()) or prompt_of(concept)
    return CloakedBatch(poisoned, task.encoder, said)


NODES = [NightshadePoison]
"""The list of nodes that the host is given."""
