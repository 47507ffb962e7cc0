"""Pictures in: a file or a folder of them, with all that must survive saving."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..comfy_glaze.files.artwork import Artwork, check_saving, load_artwork
from ..comfy_glaze.files.formats import ArtworkError
from ..comfy_glaze.images import shrink, to_levels
from .host.files import artworks_in, is_painted, picture_sources, source_path, told_by_names
from .host.running import blocked, running_graph, tell
from .portfolio import (
    ARTWORK,
    WORKS,
    FolderArtwork,
    next_artwork,
    resumes,
    resuming,
    saves,
    works_in,
    works_named,
)
from .sockets import CATEGORY, ArtworkSocket, from_images
from .wiring import Graph, links_to


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
    def validate_inputs(cls, source: str | None) -> bool | str:
        try:
            if source is not None:  # it comes through a wire, and is known once that node has run
                source_path(source)
        except ArtworkError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(
        cls, source: str | None, first: int | None, last: int | None
    ) -> list[tuple[Any, ...]]:
        if source is None or first is None or last is None or _resumes_now():
            return [(secrets.token_hex(8),)]  # what is left to do, only a look at the disk can tell
        chosen = _chosen(source, first, last, artworks_in(source))
        return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path, _ in chosen]

    @classmethod
    def execute(cls, source: str, first: int, last: int) -> Any:
        graph, node_id = (cls.hidden.prompt, cls.hidden.unique_id) if cls.hidden else ({}, "")
        with told_by_names():
            found = artworks_in(source)
            chosen, names = _chosen(source, first, last, found), works_in(found)
            notes = _left_out(len(chosen), len(found))
            if savers := resuming(graph, node_id):
                top = source_path(source)
                artwork, saved = next_artwork(top, chosen, names, graph, savers)
                tell(" ".join([f"{saved} of {len(chosen)} are saved.", *notes]), node_id)
                if artwork is None:
                    return io.NodeOutput(*[[blocked()] for _ in range(4)])
                artworks, names = [replace(artwork, notes=notes)], list(artwork.works)
            else:
                artworks, notes = _loaded(chosen, graph, node_id, notes)
                if len(found) > 1:
                    tell(" ".join(notes) or f"{len(artworks)} pictures.", node_id)
            works = works_named(found, names) if links_to(graph, node_id, WORKS) else []
        parts = [_as_the_artist_means_it(artwork) for artwork in artworks]
        return io.NodeOutput(
            [from_images(artwork.pixels) for artwork, _ in parts],
            [clear for _, clear in parts],
            [artwork for artwork, _ in parts],
            [from_images(work) for work in works],
        )


def _resumes_now() -> bool:
    return any(resumes(node) for node in running_graph().values())


SHOWN_OF_A_FOLDER, THUMBNAIL_SIDE = 6, 96  # pictures, and px of the short side


def listing(source: str, first: int, last: int) -> dict[str, Any]:
    """What a run would take of a folder, for the page: ``chosen`` of ``total`` pictures, and the
    ``names`` of the first few.

    Raises:
        ValueError: there are none.
    """
    with told_by_names():
        found = artworks_in(source)
        chosen = _chosen(source, first, last, found)
    names = [name.as_posix() for _, name in chosen[:SHOWN_OF_A_FOLDER]]
    return {"chosen": len(chosen), "total": len(found), "names": names}


def small_picture(source: str, name: str) -> bytes:
    """A small copy of a picture of a folder, as WebP.

    Raises:
        ArtworkError: it is none of the folder's, or cannot be read.
    """
    path = next((path for path, own in artworks_in(source) if own.as_posix() == name), None)
    if path is None:
        raise ArtworkError(f"{source}: expected a picture called {name!a:.80}, but it has none.")
    small = shrink(load_artwork(path).pixels, THUMBNAIL_SIDE).clamp(0, 1)
    buffer = BytesIO()
    Image.fromarray(to_levels(small)).save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def _chosen(
    source: str, first: int, last: int, found: list[tuple[Path, Path]]
) -> list[tuple[Path, Path]]:
    """The pictures of a source that are in the range, with their names in it."""
    chosen = found[first - 1 : last or None]
    if not chosen:
        raise ArtworkError(
            f"{source}: expected a range within 1 to {len(found)}, the number of its pictures, but "
            f"got {first} to {last or len(found)}."
        )
    return chosen


def _left_out(chosen: int, found: int) -> tuple[str, ...]:
    """What an artist should know who takes a part of a folder for all of it."""
    if chosen == found:
        return ()
    return (f"Only {chosen} of {found} pictures: 'first' and 'last' leave out the others.",)


def _loaded(
    chosen: Sequence[tuple[Path, Path]], graph: Graph, node_id: str, notes: tuple[str, ...]
) -> tuple[list[FolderArtwork], tuple[str, ...]]:
    """Those of the pictures that can be read and saved, and a sentence about each other one.

    Raises:
        ArtworkError: there is none; the first one's sentence.
    """
    artworks: list[Artwork] = []
    failures: list[ArtworkError] = []
    formats = [
        graph[name]["inputs"].get("format")
        for name, _ in links_to(graph, node_id, ARTWORK)
        if saves(graph[name])
    ]
    for path, name in chosen:
        try:
            artwork = load_artwork(path, name)
            for format in formats:
                check_saving(artwork, str(format), name)
        except ArtworkError as error:
            failures.append(error)
        else:
            artworks.append(artwork)
    if not artworks:
        raise failures[0]
    if failures:
        notes = (f"{len(failures)} left out: {' '.join(map(str, failures))}", *notes)
    return [FolderArtwork.of(artwork, notes=notes) for artwork in artworks], notes


def _as_the_artist_means_it(artwork: FolderArtwork) -> tuple[FolderArtwork, Tensor]:
    """The artwork, and the mask (1, H, W) of what must stay as it is.

    The page's mask editor saves what was painted as the alpha of a copy: that is a mask, and no
    transparency of the picture.
    """
    if artwork.alpha is not None and artwork.source and is_painted(artwork.source):
        return replace(artwork, alpha=None), 1 - artwork.alpha[:, 0]
    clear = artwork.keep_clear
    return artwork, torch.zeros(1, *artwork.pixels.shape[-2:]) if clear is None else clear[:, 0]


NODES = [LoadArtwork]
