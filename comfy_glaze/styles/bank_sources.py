"""Pictures for a style bank: from folders, from a model's own prompts, or by style transfer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..files.finding import find_artworks
from ..files.formats import ArtworkError
from .bank import Style, StyleBankError
from .bank_build import PictureSource, one_by_one
from .candidates import Candidate, check_text, genre_names, plain
from .transfer import StyleTransfer, TextToImage
from .works import evenly, read_pictures

PICTURES_PER_STYLE = 6


def styles_in_folder(
    folder: Path, candidates: Sequence[Candidate], layout: str = "auto"
) -> dict[Style, list[Path]]:
    """The styles that a folder holds pictures of.

    Args:
        folder: in WikiArt's layout, ``Style/artist-name_title.jpg``; or with a folder per style,
            named as the style is to be called.
        candidates: where a folder or an artist is one of these, their name, genre and prompt.
        layout: ``wikiart``, ``folders``, or ``auto``: WikiArt's where the subfolders are called
            as its genres.

    Raises:
        StyleBankError: no style was found, or a folder's name cannot be a style's.
        ArtworkError: the folder is not there.
    """
    found: dict[Style, list[Path]] = {}
    if not folder.is_dir():
        raise ArtworkError(f"Expected a folder of pictures, but {folder} is none.")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    genres = {plain(known): name for known, name in genre_names().items()}
    named_so = [sub for sub in subfolders if plain(sub.name) in genres]
    if layout == "auto":
        layout = "wikiart" if subfolders and len(named_so) == len(subfolders) else "folders"
    if layout == "wikiart":
        by_slug = {(plain(c.slug), c.style.genre): c.style for c in candidates}
        for sub in named_so:
            genre = genres[plain(sub.name)]
            for path in _pictures_in(sub):
                artist = plain(path.name.split("_")[0])
                if style := by_slug.get((artist, genre)):
                    found.setdefault(style, []).append(path)
    else:
        known: dict[str, Style] = {}
        for candidate in reversed(candidates):  # the first of several goes before the others
            style = candidate.style
            names = (candidate.slug, style.artist or "", style.name)
            known |= {plain(name): style for name in names if name}
        for sub in subfolders:
            if pictures := _pictures_in(sub):
                style = known.get(plain(sub.name)) or _style_called(sub.name)
                found.setdefault(style, []).extend(pictures)
    if not found:
        raise StyleBankError(
            f"Expected pictures in {folder} as Style/artist-name_title.jpg or with a folder per "
            "style, but found none of a listed style."
        )
    return found


def _pictures_in(folder: Path) -> list[Path]:
    try:
        return [path for path, _ in find_artworks([folder])]
    except ArtworkError:
        return []


def _style_called(folder_name: str) -> Style:
    name = " ".join(re.split(r"[\s_]+", folder_name.strip()))
    check_text(name, "name", f"folder {folder_name!a}")
    return Style(name, "Other", None, f"a picture in the style {name}", None)


def from_folder(
    found: dict[Style, list[Path]], per_style: int = PICTURES_PER_STYLE
) -> PictureSource:
    """Pictures of styles from files (see :func:`styles_in_folder`), a few evenly spread ones each.

    An interrupted build goes on only while the files have the same names, sizes and dates.
    """
    chosen = {style: evenly(paths, per_style) for style, paths in found.items()}
    digest = hashlib.sha256()
    for paths in chosen.values():
        for path in paths:
            status = path.stat()
            digest.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return one_by_one(f"files {digest.hexdigest()}", lambda style: read_pictures(chosen[style]))


def by_style_transfer(redraw: StyleTransfer, contents: Sequence[Tensor]) -> PictureSource:
    """Every content picture, images (1, 3, H, W) in [0, 1], redrawn in the style."""
    digest = hashlib.sha256(b"".join(picture.numpy().tobytes() for picture in contents))
    return one_by_one(
        f"{redraw.name} style transfer {redraw.fingerprint()} on {digest.hexdigest()}",
        lambda style: (redraw(content, style) for content in contents),
    )


def from_prompts(draw: TextToImage, per_style: int = PICTURES_PER_STYLE) -> PictureSource:
    """Pictures that a model draws from each style's prompt, several styles in one call.

    Every picture has a seed of its own, made from the style's prompt and the picture's number.
    """

    def pictures_in(styles: Sequence[Style]) -> list[list[Tensor]]:
        prompts = [style.prompt for style in styles for _ in range(per_style)]
        seeds = [
            int.from_bytes(hashlib.sha256(f"{style.prompt}|{number}".encode()).digest()[:7], "big")
            for style in styles
            for number in range(per_style)
        ]
        drawn = torch.split(draw(prompts, seeds), 1)
        return [list(drawn[i * per_style : (i + 1) * per_style]) for i in range(len(styles))]

    return PictureSource(f"{per_style} pictures by {draw.name}", pictures_in)
