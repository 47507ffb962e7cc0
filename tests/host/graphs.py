"""Graphs in API format, as small as they can be."""

from __future__ import annotations

from typing import Any

from .conftest import CHECKPOINT
from .server import Graph


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def cloak_graph(source: str = "harbour.png", side: int = 128, steps: int = 3) -> Graph:
    """Load, choose, redraw with the checkpoint, cloak on its VAE, save.

    The picture is scaled to ``side`` first, so that a run takes seconds; nothing then is the
    artwork's own size, so that ``artwork`` stays unwired.
    """
    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "artwork": node("GlazeLoadArtwork", source=source, first=1, last=0),
        "small": node(
            "ImageScale",
            image=["artwork", 0],
            upscale_method="lanczos",
            width=side,
            height=side,
            crop="center",
        ),
        "bank": node("GlazeLoadStyleBank", bank="built in"),
        "target": node(
            "GlazeSelectTargetStyle",
            style_bank=["bank", 0],
            images=["small", 0],
            encoder=["checkpoint", 2],
            style="auto",
            artist="",
            low=50.0,
            high=75.0,
            style_seed=0,
        ),
        "styled": node(
            "GlazeStyleTransfer",
            image=["small", 0],
            target_style=["target", 0],
            model=["checkpoint", 0],
            clip=["checkpoint", 1],
            vae=["checkpoint", 2],
            steps=2,
            cfg=2.0,
            denoise=0.5,
            sampler="euler",
            scheduler="normal",
            seed=0,
            short_side=768,
        ),
        "budget": node(
            "GlazeLPIPSBudget",
            preset="default",
            limit=0.05,
            linf=6.0,
            metric="st-lpips-alex",
            alpha=20.0,
        ),
        "cloak": node(
            "GlazeCloakOptimize",
            image=["small", 0],
            styled=["styled", 0],
            encoder=["checkpoint", 2],
            budget=["budget", 0],
            method="fast",
            steps=steps,
            robustness="none",
            seed=0,
            target_style=["target", 0],
        ),
        "save": node(
            "GlazeSaveCloaked",
            images=["cloak", 0],
            cloak=["cloak", 1],
            filename_prefix="test/%name%",
            format="same",
            quality=95,
            metadata=False,
        ),
    }
