"""The budget, and the cloak itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.cloaking.budget import PRESETS, Budget
from ..comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from ..comfy_glaze.cloaking.methods import METHODS
from ..comfy_glaze.cloaking.objectives import AUTO, OBJECTIVES, objective_for
from ..comfy_glaze.cloaking.robustness import ROBUSTNESS
from ..comfy_glaze.files.artwork import Artwork
from ..comfy_glaze.images import LEVELS, to_grid
from ..comfy_glaze.networks.encoders import Encoder
from ..comfy_glaze.networks.perceptual import PERCEPTUAL_METRICS, PerceptualMetric
from ..comfy_glaze.portfolio.cloaked import CloakedPicture
from ..comfy_glaze.styles.target import TargetStyle
from .host.encoders import with_encoder
from .host.running import LiveRun
from .sockets import (
    CATEGORY,
    BudgetSocket,
    CloakedBatch,
    CloakSocket,
    TargetStyleSocket,
    advanced,
    check_sides,
    each,
    encoder_input,
    from_images,
    one_by_one,
    seed_widget,
    to_images,
    to_masks,
)


class LPIPSBudget(io.ComfyNode):
    """How much may change."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeLPIPSBudget",
            display_name="Budget (Glaze)",
            category=CATEGORY,
            description="How much the cloak may change the picture. Saved files never exceed it.",
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=[*PRESETS, "custom"],
                    default="default",
                    tooltip="gallery changes the picture least, strong moves a model most and can "
                    "be seen in flat areas; custom takes limit and linf below.",
                ),
                advanced(
                    io.Float.Input(
                        "limit",
                        default=0.05,
                        min=0.001,
                        max=1.0,
                        step=0.005,
                        round=0.001,
                        tooltip="For custom: the largest perceptual difference allowed, on the "
                        "scale of the metric below. The paper uses 0.05.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "linf",
                        default=6.0,
                        min=0.0,
                        max=255.0,
                        step=1.0,
                        round=0.1,
                        tooltip="For custom: the most that any pixel may change, in grey levels of "
                        "255. Around 4 is hard to see, 10 can be seen. 0 sets no such cap.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "metric",
                        options=["auto", *PERCEPTUAL_METRICS, "none"],
                        default="auto",
                        tooltip="How the difference that an eye would see is measured. auto takes "
                        "lpips-alex where its weights are on this computer, else st-lpips-alex, "
                        "which needs no download.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "alpha",
                        default=20.0,
                        min=0.0,
                        max=10000.0,
                        step=1.0,
                        tooltip="For the method 'paper' only: how heavily exceeding the limit "
                        "weighs while it optimises.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "uniform",
                        default=False,
                        optional=True,
                        tooltip="Lets every pixel change by as much, even on plain ground, where "
                        "the eye sees it. It leads a model further, and shows more.",
                    )
                ),
            ],
            outputs=[BudgetSocket.Output("budget", display_name="budget")],
        )

    @classmethod
    def execute(
        cls,
        preset: str,
        limit: float,
        linf: float,
        metric: str,
        alpha: float,
        uniform: bool = False,
    ) -> Any:
        cap = linf / LEVELS if linf else None
        spread = PRESETS["default"].sight if linf else None
        chosen = PRESETS.get(preset, Budget(limit, cap, spread)).changed(uniform=uniform)
        return io.NodeOutput(replace(chosen, metric=metric, alpha=alpha))


class CloakOptimize(io.ComfyNode):
    """δ: the cloak."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeCloakOptimize",
            display_name="Cloak (Glaze)",
            category=CATEGORY,
            description="Changes the picture, within the budget, so that a model sees the "
            "redrawn one. Every picture of a batch is cloaked by itself. Publish what Save Cloaked "
            "saves: other savers write the target style into the file.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures to cloak."),
                io.Image.Input(
                    "styled", tooltip="The same pictures redrawn in the target style, same size."
                ),
                encoder_input(
                    tooltip="The VAE of the model you worry about, straight from its checkpoint."
                ),
                BudgetSocket.Input("budget", tooltip="How much may change."),
                clear_input(),
                *how_widgets("cloak"),
                style_for_report(),
                advanced(
                    io.Boolean.Input(
                        "tile",
                        default=False,
                        optional=True,
                        tooltip="For a picture that repeats, as wallpapers and textures do: each "
                        "edge is cloaked as going on at the opposite one, so that no seam shows.",
                    )
                ),
                objective_widget(
                    "Where a model is led: beyond goes to the target style's side of the picture, "
                    "as far as the budget allows; towards is the published one; away and to-zero "
                    "look at no target style. auto takes beyond, and towards for the method "
                    "'paper'."
                ),
            ],
            outputs=made_outputs("cloaked"),
            is_input_list=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, **lists: list[Any]) -> Any:
        """Takes the host's lists as a whole, since only so can the page tell 3 of 12."""
        return run_lists(cls.hidden, {"objective": [AUTO]} | lists, _cloak_batch)


def objective_widget(tooltip: str) -> Any:
    """By what a cloak is led, or was."""
    return advanced(
        io.Combo.Input(
            "objective",
            options=[AUTO, *OBJECTIVES],
            default=AUTO,
            optional=True,
            tooltip=tooltip,
        )
    )


def how_widgets(made: str) -> list[Any]:
    """How the optimisation runs; ``made`` is what comes out, in a word."""
    return [
        method_widget(),
        io.Int.Input(
            "steps",
            default=0,
            min=0,
            max=10000,
            tooltip="More steps lead further and take longer. 0: the usual number.",
        ),
        io.Combo.Input(
            "robustness",
            options=list(ROBUSTNESS),
            default="none",
            tooltip="How much of what websites and mimics do to a picture (resizing, JPEG, "
            f"blur) the {made} is trained to survive. For the method fast.",
        ),
        advanced(seed_widget("seed", f"The same seed gives the same {made}.")),
    ]


def method_widget(**more: Any) -> Any:
    """How δ is found."""
    return io.Combo.Input(
        "method",
        options=list(METHODS),
        default="fast",
        tooltip="fast reaches about the same in a small part of the time; brief takes fewer "
        "and larger steps, for a computer without a GPU; paper is the published one.",
        **more,
    )


def style_for_report() -> Any:
    """T, which the optimisation does not ask for."""
    return TargetStyleSocket.Input(
        "target_style",
        optional=True,
        tooltip="Only for the report: which style the redrawn picture is in.",
    )


def clear_input() -> Any:
    """What must not change."""
    return io.Mask.Input(
        "keep_clear",
        optional=True,
        tooltip="White where not a single pixel may change. Leave it empty to let the whole "
        "picture change.",
    )


def made_outputs(made: str) -> list[Any]:
    """The pictures, under the name ``made``, and what saving needs to know of them."""
    return [
        io.Image.Output(made, display_name=made, is_output_list=True),
        CloakSocket.Output("cloak", display_name="cloak", is_output_list=True),
    ]


@dataclass(frozen=True, eq=False)
class Task:
    """Pictures to change, and how: what the nodes that optimise have in common.

    Attributes:
        pictures: images (B, 3, H, W) in [0, 1], as files hold them.
        encoder: what came in through the encoder's socket.
        budget: None for the node's own.
        masks: (B, 1, H, W), above 0.5 where pixels must not change.
    """

    pictures: Tensor
    encoder: Any
    budget: Budget | None
    settings: CloakSettings
    masks: Tensor | None


def task_from(one: dict[str, Any]) -> Task:
    """The task in one entry of a node's inputs, which is left with what is the node's own."""
    pictures = check_sides(to_grid(to_images(one.pop("image"))))
    names = ("method", "steps", "seed", "robustness", "tile", "objective")
    how = {name: one.pop(name) for name in names if name in one}
    if "objective" in how:
        how["objective"] = objective_for(how["objective"], how["method"])
    mask = one.pop("keep_clear", None)
    masks = None if mask is None else to_masks(mask, pictures)
    budget = one.pop("budget", None)
    return Task(pictures, one.pop("encoder"), budget, CloakSettings(**how), masks)


def run_lists(
    hidden: Any, lists: dict[str, list[Any]], batch_of: Callable[..., CloakedBatch]
) -> Any:
    """Both outputs of a node that cloaks or poisons, from the host's lists.

    Args:
        batch_of: called with a :class:`LiveRun`, a :class:`Task` and the node's own inputs, for
            each entry of the lists.
    """
    runs = one_by_one(lists)
    live = LiveRun(hidden.unique_id if hidden else None, sum(len(run["image"]) for run in runs))
    batches = [batch_of(live, task_from(run), **run) for run in runs]
    images = [torch.cat([one.cloak.images for one in batch.pictures]) for batch in batches]
    return io.NodeOutput([from_images(cloaked) for cloaked in images], batches)


def _cloak_batch(
    live: LiveRun, task: Task, styled: Tensor, target_style: TargetStyle | None = None
) -> CloakedBatch:
    """Pictures of one size, cloaked towards the redrawn ones (B, H, W, 3)."""
    redrawn = to_grid(to_images(styled))
    return CloakedBatch(cloak_each(live, task, redrawn, target_style), task.encoder)


def cloak_each(
    live: LiveRun, task: Task, styled: Tensor, target: TargetStyle | None = None
) -> tuple[CloakedPicture, ...]:
    """One picture after the other, so that none depends on its neighbours in a batch."""
    pictures, budget = task.pictures, task.budget or PRESETS["default"]
    if styled.shape != pictures.shape:
        raise ValueError(
            f"'styled' must have the pictures' number and size, {tuple(pictures.shape)}, but it "
            f"has {tuple(styled.shape)}; wire the Style Transfer of the same pictures to it."
        )
    live.limit = None if budget.metric == "none" else budget.limit
    before = live.picture

    def cloak_all(phi: Encoder, metric: PerceptualMetric | None) -> tuple[CloakedPicture, ...]:
        cloaked = []
        for number, (picture, redrawn) in enumerate(zip(each(pictures), each(styled), strict=True)):
            live.picture = before + number + 1
            mask = None if task.masks is None else task.masks[number : number + 1]
            cloak = optimize_cloak(
                picture,
                redrawn,
                phi,
                budget,
                task.settings,
                live.on_step,
                keep_clear=mask,
                metric=metric,
            )
            live.on_result(cloak.measures[0])
            cloak = replace(cloak, images=cloak.images.cpu())
            cloaked.append(
                CloakedPicture(
                    Artwork(picture), picture, redrawn, cloak, target, seconds=cloak.seconds
                )
            )
        return tuple(cloaked)

    height, width = pictures.shape[-2:]
    return with_encoder(task.encoder, budget.metric, (height, width), cloak_all)


NODES = [LPIPSBudget, CloakOptimize]
