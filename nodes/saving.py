"""Cloaked files out, with what they measure."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.cloaking.comparable import shows_the_same
from ..comfy_glaze.cloaking.measures import Comparison
from ..comfy_glaze.files.artwork import Artwork, check_saving, save_artwork
from ..comfy_glaze.files.formats import FORMATS, ArtworkError
from ..comfy_glaze.files.options import SaveOptions
from ..comfy_glaze.files.resized import at_size_of
from ..comfy_glaze.images import resize, to_grid
from ..comfy_glaze.networks.encoders import Encoder
from ..comfy_glaze.networks.perceptual import PerceptualMetric
from ..comfy_glaze.portfolio.cloaked import CloakedPicture
from ..comfy_glaze.portfolio.outputs import Job
from ..comfy_glaze.portfolio.saving import save_cloaked
from ..comfy_glaze.portfolio.seen import Seen
from .host.encoders import hosted_encoder, seen_through, with_encoder
from .host.files import (
    check_output,
    next_output,
    output_folder,
    reports_beside,
    temp_folder,
    told_by_names,
)
from .host.metadata import graph_of, with_graph
from .host.running import run_again
from .portfolio import Destination, FolderArtwork, is_saved, reserved
from .sockets import (
    CATEGORY,
    ArtworkSocket,
    CloakedBatch,
    CloakSocket,
    each,
    to_images,
)

CHANGED = "A node in between changed the pixels: measured anew."
RESIZED = "A node in between changed the size: measured anew, against the original at that size."
OTHER = (
    "A node in between cropped or turned the picture, so no measure of it would be true, and there "
    "is no report. Crop and turn before Cloak."
)
NOT_CLOAKED = (
    "Nothing was saved: no cloak came in. Switch the Cloak node on again, or wire its 'cloak' here."
)


class SaveCloaked(io.ComfyNode):
    """Files to publish, and reports to keep."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeSaveCloaked",
            display_name="Save Cloaked (Glaze)",
            category=CATEGORY,
            description="Saves the cloaked pictures as they may be published, and beside their "
            "folder, in one called -reports, what was done to them, to keep to yourself.",
            is_output_node=True,
            inputs=[
                io.Image.Input("images", optional=True, lazy=True, tooltip="The cloaked pictures."),
                CloakSocket.Input(
                    "cloak", optional=True, lazy=True, tooltip="From the same Cloak node."
                ),
                ArtworkSocket.Input(
                    "artwork",
                    optional=True,
                    tooltip="From Load Artwork: keeps name, transparency, colour profile, "
                    "resolution and author.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="cloaked/%name%",
                    tooltip="Folder and beginning of the files' names, in ComfyUI's output folder. "
                    "%name% is the artwork's own name, %year%, %month%, %day% and the like are "
                    "today's.",
                ),
                io.Combo.Input(
                    "format",
                    options=["same", *FORMATS],
                    default="same",
                    tooltip="same takes the artwork's own format (PNG without one). PNG holds the "
                    "cloak exactly; JPEG and WebP lose a part of it, which the report measures.",
                ),
                io.Int.Input(
                    "quality",
                    default=95,
                    min=1,
                    max=100,
                    tooltip="Of JPEG, WebP and AVIF files. WebP at 100 is lossless.",
                ),
                io.Boolean.Input(
                    "metadata",
                    default=False,
                    tooltip="Writes this graph into the file. It names the target style, which "
                    "tells a mimic what to look for: leave it off for whatever you publish.",
                ),
                io.Boolean.Input(
                    "resume",
                    default=False,
                    optional=True,
                    tooltip="For a folder: one picture in each run, saved under its own name, and "
                    "the run again by itself until all are saved. Stopped or broken off, it goes "
                    "on where it was when you run it again, and does only what is new or changed.",
                ),
                io.Boolean.Input(
                    "no_ai_training",
                    default=False,
                    optional=True,
                    tooltip="States in each file that it may not be used to train AI, where "
                    "crawlers are asked to look. It is a legal statement, not a lock.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        try:
            if filename_prefix is not None:  # it comes through a wire
                check_output(filename_prefix)
        except ArtworkError as error:
            return str(error)
        return True

    @classmethod
    def check_lazy_status(
        cls, format: str, artwork: Artwork | None = None, **inputs: Any
    ) -> list[str]:
        """Asks for the cloak, unless its artwork cannot be saved: Load Artwork says so as well,
        but the host does not run it again for another format."""
        if artwork is not None:
            source = artwork.source or Path("artwork")
            check_saving(artwork, format, Path(source.name))
        return [name for name in ("images", "cloak") if name in inputs and inputs[name] is None]

    @classmethod
    def execute(
        cls,
        filename_prefix: str,
        format: str,
        quality: int,
        metadata: bool,
        resume: bool = False,
        no_ai_training: bool = False,
        images: Tensor | None = None,
        cloak: CloakedBatch | None = None,
        artwork: Artwork | None = None,
    ) -> Any:
        if images is None or cloak is None:  # Cloak is bypassed, muted or not wired
            return io.NodeOutput(ui={"images": [], "glaze": _only_shown(images, artwork)})
        pictures = to_grid(to_images(images))
        if len(pictures) != len(cloak.pictures):
            raise ValueError(
                "'images' must be as many as the Cloak node has made that 'cloak' comes from, "
                f"{len(cloak.pictures)}, but got {len(pictures)}."
            )
        graph = cls.hidden.prompt if cls.hidden else {}
        text = graph_of(cls.hidden) if metadata and cls.hidden else {}
        options = SaveOptions(format, quality, no_ai_training=no_ai_training)
        loaded = artwork if isinstance(artwork, FolderArtwork) else None
        found = loaded if loaded and loaded.jobs else None
        if resume and (found is None or len(pictures) > 1):
            raise ValueError(
                "'resume' is for single pictures of a folder: wire the 'artwork' of Load Artwork "
                "to Save Cloaked, and its 'image' to Cloak."
            )
        rows = []
        with told_by_names():
            for picture, made in zip(each(pictures), cloak.pictures, strict=True):
                place = (
                    reserved(found, options, cls.hidden.unique_id, graph, made.target)
                    if resume and found
                    else _next_destination(filename_prefix, options, artwork, picture)
                )
                carrier = with_graph(_carrier(artwork, picture), text, place.options.format)
                job = replace(place.job, caption=cloak.caption)
                place = replace(place, job=job)
                rows.append(_save(picture, replace(made, artwork=carrier), place, cloak.encoder))
            if resume and found and is_saved(found, graph):
                run_again()
        for row in rows:
            notes = (row["note"], *(loaded.notes if loaded else ()))
            row["note"] = " ".join(filter(None, notes)) or None
        return io.NodeOutput(ui={"images": [row["file"] for row in rows], "glaze": rows})


def _only_shown(images: Tensor | None, artwork: Artwork | None) -> list[dict[str, Any]]:
    """What the page shows where no cloak came in: the pictures as they are, and a sentence."""
    pictures = [] if images is None else each(to_grid(to_images(images)))
    if not pictures and artwork is not None:
        pictures = [artwork.pixels]
    empty = {"file": None, "measures": None, "note": NOT_CLOAKED}
    return [{**empty, "original": _temporary(picture)} for picture in pictures] or [
        {**empty, "original": None}
    ]


def _carrier(artwork: Artwork | None, picture: Tensor) -> Artwork:
    """What is saved with a picture: what is true of the wired artwork for it, or nothing."""
    if artwork is None:
        return Artwork(picture)
    return artwork if artwork.pixels.shape == picture.shape else at_size_of(artwork, picture)


def _next_destination(
    prefix: str, options: SaveOptions, artwork: Artwork | None, picture: Tensor
) -> Destination:
    """A name that no file has yet, with a number, as the host's own nodes give it."""
    found = artwork or Artwork(picture)
    options = options.for_file(found.format, Path("cloaked.png"))
    name = found.source.stem if found.source else "picture"
    height, width = picture.shape[-2:]
    folder, stem, counter, _ = next_output(prefix.replace("%name%", name), height, width)
    path = folder / f"{stem}_{counter:05}_{FORMATS[options.format][0]}"
    job = Job(found.source or path, path, reports_beside(folder) / path.name, path.name)
    return Destination(job, options)


def _save(picture: Tensor, made: CloakedPicture, place: Destination, wired: Any) -> dict[str, Any]:
    """Save one picture and what belongs to it; gives what the page shows.

    Args:
        picture: as it came to be saved, (1, 3, H, W) in [0, 1].
        made: as the Cloak node gave it, with what is saved along with it.
        wired: what came in through the encoder's socket.
    """
    height, width = picture.shape[-2:]
    note = _what_happened(made, picture)
    if note == OTHER:
        carrier = replace(at_size_of(made.artwork, picture), alpha=None)  # it lies elsewhere now
        _save_unmeasured(picture, carrier, place)
        return {"file": _file(place.job.target), "original": None, "measures": None, "note": note}
    if note == RESIZED:
        original, styled = (
            to_grid(resize(image, height, width)) for image in (made.original, made.styled)
        )
        made = replace(made, original=original, styled=styled)
    seen = seen_through(wired, made.original, picture)

    def write(phi: Encoder, metric: PerceptualMetric | None) -> dict[str, Any]:
        measured = made if note is None else _measured_anew(made, picture, phi, metric)
        return save_cloaked(
            measured, place.job, place.options, phi, metric, place.manifest, place.settings, seen
        )

    kept = made.artwork.levels is None and not made.artwork.coding.indexed
    if note is None and place.options.is_lossless and kept:
        report = write(hosted_encoder(wired).encoder, None)
    else:
        report = with_encoder(wired, made.cloak.budget.metric, (height, width), write)
    return {
        "file": _file(place.job.target),
        "original": _temporary(made.original),
        "measures": report,
        "note": note,
        "seen": [_decoded(one) for one in seen],
    }


def _what_happened(made: CloakedPicture, picture: Tensor) -> str | None:
    """What nodes between Cloak and Save Cloaked did to a picture; None where it came as it was."""
    if torch.equal(picture, made.cloak.images):
        return None
    if not shows_the_same(made.original, picture):
        return OTHER
    return CHANGED if made.original.shape == picture.shape else RESIZED


def _save_unmeasured(picture: Tensor, artwork: Artwork, place: Destination) -> None:
    """Save a picture of which no measure would be true.

    Raises:
        ArtworkError: it is one of a folder that resumes, or poison, where a report is needed.
    """
    if place.manifest is not None or place.job.caption is not None:
        raise ArtworkError(f"{place.job.target.name} is not saved. {OTHER}")
    save_artwork(picture, artwork, place.job.target, place.options)


def _file(path: Path) -> dict[str, str]:
    """A saved picture, as the host's page asks for it."""
    subfolder = path.parent.resolve().relative_to(output_folder().resolve()).as_posix()
    return {
        "filename": path.name,
        "subfolder": "" if subfolder == "." else subfolder,
        "type": "output",
    }


def _measured_anew(
    made: CloakedPicture, picture: Tensor, encoder: Encoder, metric: PerceptualMetric | None
) -> CloakedPicture:
    """The picture as a node in between changed it, with its own measures."""
    images = (one.to(encoder.device) for one in (made.original, made.styled, picture))
    before, redrawn, after = images
    settings = made.cloak.settings
    comparison = Comparison.of(before, redrawn, encoder, metric, settings.objective, settings.tile)
    measures = comparison.measure(after)
    return replace(made, cloak=replace(made.cloak, images=picture, measures=measures))


def _temporary(image: Tensor) -> dict[str, str]:
    """A picture in the host's temporary folder, for the page to compare with."""
    path = temp_folder() / f"glaze_{secrets.token_hex(8)}.png"
    save_artwork(image, Artwork(image), path)
    return {"filename": path.name, "subfolder": "", "type": "temp"}


def _decoded(seen: Seen) -> dict[str, Any]:
    """What an autoencoder makes of the two pictures, for the page."""
    return {
        "name": seen.name,
        "original": _temporary(seen.original),
        "cloaked": _temporary(seen.cloaked),
    }


NODES = [SaveCloaked]
