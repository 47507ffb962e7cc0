"""The host's own metadata, the graph in a file, for those who ask for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from comfy.cli_args import args
from PIL import ExifTags, Image

from ...comfy_glaze.files.artwork import Artwork


def graph_of(hidden: Any) -> dict[str, str]:
    """The prompt, and what the page sent with it, as JSON; nothing where the host forbids it."""
    if args.disable_metadata:
        return {}
    parts = {"prompt": hidden.prompt, **(hidden.extra_pnginfo or {})}
    return {name: json.dumps(part) for name, part in parts.items() if part is not None}


def with_graph(artwork: Artwork, graph: dict[str, str], format: str) -> Artwork:
    """An artwork that carries the graph where the host reads it: in the texts of a PNG, in the EXIF
    of any other file."""
    if not graph:
        return artwork
    if format == "png":
        return replace(artwork, texts={**artwork.texts, **graph})
    exif = Image.Exif()
    exif.load(artwork.exif or b"")
    tags = (ExifTags.Base.Model, ExifTags.Base.Make, ExifTags.Base.ImageDescription)
    for tag, (name, text) in zip(tags, graph.items(), strict=False):
        exif[tag] = f"{name}:{text}"
    return replace(artwork, exif=exif.tobytes())
