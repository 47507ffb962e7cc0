"""Graphs in API format, as small as they can be."""

from __future__ import annotations

from typing import Any

from .conftest import CHECKPOINT, STYLE_BANK
from .server import Graph, Server


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
        "bank": node("GlazeLoadStyleBank", bank=STYLE_BANK, genres="", without_living=False),
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
            short_side=128,
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


def rehearsal_graph(source: str) -> Graph:
    """The same without a checkpoint, at the pictures' own sizes."""
    graph = cloak_graph(source)
    del graph["checkpoint"], graph["small"]
    graph["encoder"] = node("GlazeLoadEncoder", name="embedded (rehearsal only)")
    graph["bank"]["inputs"]["bank"] = "built in"  # made already for this encoder
    for name, socket in (("target", "images"), ("styled", "image"), ("cloak", "image")):
        graph[name]["inputs"][socket] = ["artwork", 0]
    for name in ("target", "cloak"):
        graph[name]["inputs"]["encoder"] = ["encoder", 0]
    for socket in ("model", "clip", "vae"):
        del graph["styled"]["inputs"][socket]
    graph["save"]["inputs"]["artwork"] = ["artwork", 2]
    return graph


def look_graph(fresh: int) -> Graph:
    """What the host's own nodes make of the checkpoint: an encoded picture, and a sampled one."""
    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "picture": node("LoadImage", image="harbour.png"),
        "text": node("CLIPTextEncode", clip=["checkpoint", 1], text="a harbour"),
        "empty": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "sampled": node(
            "KSampler",
            model=["checkpoint", 0],
            positive=["text", 0],
            negative=["text", 0],
            latent_image=["empty", 0],
            seed=0,
            steps=2,
            cfg=2.0 + fresh * 1e-9,  # the same in the host's arithmetic, another in its cache
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "decoded": node("VAEDecode", samples=["sampled", 0], vae=["checkpoint", 2]),
        "encoded": node("ProbeHash", image=["picture", 0], vae=["checkpoint", 2], fresh=fresh),
        "drawn": node("ProbeHash", image=["decoded", 0], fresh=fresh),
    }


def look(server: Server, fresh: int) -> tuple[str, str]:
    """Hashes of an encoded picture and of a sampled one."""
    run = server.run(look_graph(fresh))
    return run.shown("encoded")["hash"][0], run.shown("drawn")["hash"][0]
