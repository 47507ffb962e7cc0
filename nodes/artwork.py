"""Pictures in, and cloaked files out."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.cloaking.measures import Comparison
from ..comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from ..comfy_glaze.files.finding import find_artworks
from ..comfy_glaze.files.formats import FORMATS, ArtworkError
from ..comfy_glaze.files.options import SaveOptions
from ..comfy_glaze.images import resize, to_grid
from ..comfy_glaze.networks.encoders import Encoder
from ..comfy_glaze.networks.perceptual import PerceptualMetric
from ..comfy_glaze.portfolio.cloaked import CloakedPicture
from ..comfy_glaze.portfolio.outputs import Job
from ..comfy_glaze.portfolio.saving import save_cloaked
from .host.encoders import hosted_encoder, with_encoder
from .host.files import next_output, output_folder, picture_sources, source_path, temp_folder
from .host.metadata import graph_of, with_graph
from .host.running import blocked, run_again, running_graph, tell
from .portfolio import (
    WORKS,
    Destination,
    FolderArtwork,
    is_saved,
    links_to,
    next_artwork,
    reserved,
    resumes,
    resuming,
    works_in,
    works_named,
)
from .sockets import (
    CATEGORY,
    ArtworkSocket,
    CloakedBatch,
    CloakSocket,
    each,
    from_images,
    to_images,
)

CHANGED = "A node in between changed the pixels: measured anew."
RESIZED = "A node in between changed the size: measured anew, against the original at that size."


class LoadArtwork(io.ComfyNode):
    """A picture or a folder of them, with all that must survive saving."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeLoadArtwork",
            display_name="Load Artwork (Glaze)",
            category=CATEGORY,
            description="Loads a picture, or every picture of a folder one after the other, with "
            "its transparency, colour profile, resolution and author for saving.",
            inputs=[
                io.Combo.Input(
                    "source",
                    options=picture_sources(),
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="A picture, or a folder (its name ends with /) in ComfyUI's input or "
                    "output folder. Folders are searched to the bottom.",
                ),
                io.Int.Input(
                    "first",
                    default=1,
                    min=1,
                    max=1_000_000,
                    tooltip="Of a folder: the first picture, in the order of names.",
                ),
                io.Int.Input(
                    "last",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="Of a folder: the last picture; 0 for all. All of them are in "
                    "memory at once, unless Save Cloaked has 'resume' switched on.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", is_output_list=True),
                io.Mask.Output(
                    "keep_clear",
                    display_name="keep_clear",
                    is_output_list=True,
                    tooltip="White where the picture is fully transparent.",
                ),
                ArtworkSocket.Output("artwork", display_name="artwork", is_output_list=True),
                io.Image.Output(
                    "works",
                    display_name="works",
                    is_output_list=True,
                    tooltip="Small copies of up to 50 pictures from all of the folder, for Target "
                    "Style to see what your own style is.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, source: str) -> bool | str:
        try:
            source_path(source)
        except ArtworkError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, source: str, first: int, last: int) -> list[tuple[Any, ...]]:
        if any(resumes(node) for node in running_graph().values()):
            return [(secrets.token_hex(8),)]  # what is left to do, only a look at the disk can tell
        chosen = _chosen(source, first, last)
        return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path, _ in chosen]

    @classmethod
    def execute(cls, source: str, first: int, last: int) -> Any:
        found = find_artworks([source_path(source)])
        chosen, names = _chosen(source, first, last), works_in(found)
        graph, node_id = (cls.hidden.prompt, cls.hidden.unique_id) if cls.hidden else ({}, "")
        artworks: list[Artwork] = []
        if savers := resuming(graph, node_id):
            artwork, saved = next_artwork(source_path(source), chosen, names, graph, savers)
            tell(f"{saved} of {len(chosen)} are saved", node_id)
            if artwork is None:
                return io.NodeOutput(*[[blocked()] for _ in range(4)])
            artworks, names = [artwork], list(artwork.works)
        else:
            artworks = [load_artwork(path) for path, _ in chosen]
        works = works_named(found, names) if links_to(graph, node_id, WORKS) else []
        masks = [
            torch.zeros(1, *artwork.pixels.shape[-2:])
            if artwork.keep_clear is None
            else artwork.keep_clear[:, 0]
            for artwork in artworks
        ]
        return io.NodeOutput(
            [from_images(artwork.pixels) for artwork in artworks],
            masks,
            artworks,
            [from_images(work) for work in works],
        )


def _chosen(source: str, first: int, last: int) -> list[tuple[Path, Path]]:
    """The pictures of a source that are in the range, with their names in it."""
    found = find_artworks([source_path(source)])
    chosen = found[first - 1 : last or None]
    if not chosen:
        raise ArtworkError(
            f"{source}: expected a range within its {len(found)} pictures, but got {first} to "
            f"{last or len(found)}."
        )
    return chosen


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
                io.Image.Input("images", tooltip="The cloaked pictures."),
                CloakSocket.Input("cloak", tooltip="From the same Cloak node."),
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
    def execute(
        cls,
        images: Tensor,
        cloak: CloakedBatch,
        filename_prefix: str,
        format: str,
        quality: int,
        metadata: bool,
        resume: bool = False,
        no_ai_training: bool = False,
        artwork: Artwork | None = None,
    ) -> Any:
        pictures = to_grid(to_images(images))
        if len(pictures) != len(cloak.pictures):
            raise ValueError(
                f"'images' must be the {len(cloak.pictures)} pictures of the Cloak node that "
                f"'cloak' comes from, but got {len(pictures)}."
            )
        graph = cls.hidden.prompt if cls.hidden else {}
        text = graph_of(cls.hidden) if metadata and cls.hidden else {}
        options = SaveOptions(format, quality, no_ai_training=no_ai_training)
        found = artwork if isinstance(artwork, FolderArtwork) else None
        if resume and (found is None or len(pictures) > 1):
            raise ValueError(
                "'resume' is for single pictures of a folder: wire the 'artwork' of Load Artwork "
                "to Save Cloaked, and its 'image' to Cloak."
            )
        rows = []
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
        return io.NodeOutput(ui={"images": [row["file"] for row in rows], "glaze": rows})


def _carrier(artwork: Artwork | None, picture: Tensor) -> Artwork:
    """What is saved with a picture: the wired artwork's, or nothing."""
    if artwork is None:
        return Artwork(picture)
    if artwork.pixels.shape != picture.shape:
        height, width = artwork.pixels.shape[-2:]
        raise ValueError(
            f"'artwork' must be what 'images' were made from, but it is {width} × {height} and "
            f"they are {picture.shape[-1]} × {picture.shape[-2]}; leave it empty if the size was "
            "changed on purpose."
        )
    return artwork


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
    job = Job(found.source or path, path, _reports(folder) / path.name, path.name)
    return Destination(job, options)


def _save(picture: Tensor, made: CloakedPicture, place: Destination, wired: Any) -> dict[str, Any]:
    """Save one picture and what belongs to it; gives what the page shows.

    Args:
        picture: as it came to be saved, (1, 3, H, W) in [0, 1].
        made: as the Cloak node gave it, with what is saved along with it.
        wired: what came in through the encoder's socket.
    """
    height, width = picture.shape[-2:]
    note = None
    if made.original.shape != picture.shape:
        note = RESIZED
        original, styled = (
            to_grid(resize(image, height, width)) for image in (made.original, made.styled)
        )
        made = replace(made, original=original, styled=styled)
    elif not torch.equal(picture, made.cloak.images):
        note = CHANGED

    def write(phi: Encoder, metric: PerceptualMetric | None) -> dict[str, Any]:
        measured = made if note is None else _measured_anew(made, picture, phi, metric)
        return save_cloaked(
            measured, place.job, place.options, phi, metric, place.manifest, place.settings
        )

    kept = made.artwork.levels is None and not made.artwork.coding.indexed
    if note is None and place.options.is_lossless and kept:
        report = write(hosted_encoder(wired).encoder, None)
    else:
        report = with_encoder(wired, made.cloak.budget.metric, (height, width), write)
    path = place.job.target
    subfolder = path.parent.resolve().relative_to(output_folder().resolve()).as_posix()
    return {
        "file": {
            "filename": path.name,
            "subfolder": "" if subfolder == "." else subfolder,
            "type": "output",
        },
        "original": _temporary(made.original),
        "measures": report,
        "note": note,
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


def _reports(folder: Path) -> Path:
    """The sibling of the pictures' folder, so that the latter can be published as it is; inside the
    output folder itself where the pictures go there directly."""
    if folder.resolve() == output_folder().resolve():
        return folder / "glaze-reports"
    return folder.with_name(f"{folder.name}-reports")


def _temporary(image: Tensor) -> dict[str, str]:
    """A picture in the host's temporary folder, for the page to compare with."""
    path = temp_folder() / f"glaze_{secrets.token_hex(8)}.png"
    save_artwork(image, Artwork(image), path)
    return {"filename": path.name, "subfolder": "", "type": "temp"}


NODES = [LoadArtwork, SaveCloaked]
