"""Anchors: pictures of the concept that a poisoned picture of another one is led to.

Nightshade (Shan et al., IEEE S&P 2024), §5.2, step 2: the concept's own model draws prototypical
pictures of the destination, "a photo of a cat", so that all samples pull the same way.  Ω(x, T) of
the cloak is then simply the anchor of x, cut to x's shape, and everything else is the cloak's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.artwork import Artwork, load_artwork, save_artwork
from ..files.atomic import make_folder
from ..files.finding import find_artworks
from ..files.formats import ArtworkError, named
from ..files.hashing import file_sha256
from ..images import panels_of, resize, shrink, to_grid, to_levels
from ..networks.transformers_models import load_text_matcher
from ..styles.bank import Style
from ..styles.transfer import StyleTransfer, TextToImage
from .wording import with_article

KINDS: dict[str, str] = {
    "object": "a photo of {}",
    "style": "a painting in the style of {}",
}
"""What a concept is, and what a model is asked for to see it."""

MATCHING_SIDE = 384
"""Short side in pixels of what an image–text model looks at."""


class AnchorError(ValueError):
    """Anchors that cannot be had, in one sentence."""


def prompt_of(concept: str, kind: str = "object") -> str:
    """The words that ask for a concept: "a photo of a cat", or of a style, "a painting in ...".

    An object gets the article that it needs (see :func:`comfy_glaze.poison.wording.with_article`).

    Raises:
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"Expected a kind among {', '.join(KINDS)}, but got {kind}.")
    return KINDS[kind].format(with_article(concept) if kind == "object" else concept)


def fitted(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture (B, 3, h, w) that covers height × width: scaled by Lanczos, cut to the middle.

    Returns:
        (B, 3, height, width) in [0, 1], on the 8-bit grid.
    """
    own_height, own_width = picture.shape[-2:]
    scale = max(height / own_height, width / own_width)
    tall, wide = max(height, round(own_height * scale)), max(width, round(own_width * scale))
    top, left = (tall - height) // 2, (wide - width) // 2
    covering = resize(picture, tall, wide)
    return to_grid(covering[..., top : top + height, left : left + width])


def check_concepts(concept: str, towards: str) -> None:
    """Raise unless one concept can be led to the other.

    Raises:
        ValueError: one of them says nothing, or both are the same.
    """
    for name, words in (("concept", concept), ("towards", towards)):
        if not words.strip() or not words.isprintable():
            raise ValueError(f"Expected a word or a few for {name}, but got {words!a}.")
    if concept.casefold() == towards.casefold():
        raise ValueError(f"A concept must be led to another one, but both are {concept!a}.")


def drawn_for(picture: Tensor, count: int, seed: int = 0) -> int:
    """A number below ``count`` for a picture (1, 3, H, W): its pixels and the seed alone decide."""
    digest = hashlib.sha256(f"{seed}|{tuple(picture.shape)}|".encode())
    digest.update(to_levels(picture).tobytes())
    return int.from_bytes(digest.digest()[:8], "big") % count


@dataclass(frozen=True, eq=False)
class Poison:
    """What a picture of one concept shall be learned as, and the pictures it is led to.

    Attributes:
        concept: what the captions say, C.
        towards: the destination A.
        kind: a key of :data:`KINDS`, of both.
        anchors: files; each picture is led to one of them.
        seed: draws which.
        similarities: image–text similarity to C by the pictures' SHA-256, where it was measured.
    """

    concept: str
    towards: str
    kind: str
    anchors: tuple[Path, ...]
    seed: int = 0
    similarities: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_concepts(self.concept, self.towards)
        if not self.anchors:
            raise AnchorError(f"Poison needs at least one anchor of {self.towards}, but got none.")

    def anchor_for(self, picture: Tensor) -> Path:
        """The anchor of a picture (1, 3, H, W): its pixels and the seed alone decide.

        Differs: the paper pairs pictures and anchors as they were drawn, one each; here a folder of
        any size serves, and a picture keeps its anchor when others are added to the run.
        """
        return self.anchors[drawn_for(picture, len(self.anchors), self.seed)]

    def omega(self) -> StyleTransfer:
        """Ω: a picture's anchor at its size, or at that of each panel of a strip; named after
        everything that decides it."""
        digest = hashlib.sha256(f"{self.concept}|{self.kind}|{self.seed}".encode())
        for path in self.anchors:
            digest.update((file_sha256(path) or str(path)).encode())

        def redraw(image: Tensor, style: Style, seed: int) -> Tensor:
            anchor = load_artwork(self.anchor_for(image)).pixels
            goal = torch.empty(image.shape)
            for panel in panels_of(*image.shape[-2:]):
                panel.cut(goal).copy_(fitted(anchor, panel.height, panel.width))
            return goal

        fingerprint = digest.hexdigest()[:16]
        name = f"anchors of {self.towards} {fingerprint}"
        return StyleTransfer(name, redraw, lambda style: True, lambda: fingerprint, by_panels=False)

    @property
    def destination(self) -> Style:
        """A as what Ω is asked for."""
        words = prompt_of(self.towards, self.kind)
        return Style(self.towards, self.kind, None, words, None)

    def as_json(self, artwork: Artwork) -> dict[str, Any]:
        """What a picture's report says of it."""
        return poison_words(
            self.concept,
            self.towards,
            self.anchor_for(artwork.pixels).name,
            self.similarities.get(artwork.sha256 or ""),
        )


def poison_words(
    concept: str, towards: str, anchor: str | None = None, similarity: float | None = None
) -> dict[str, Any]:
    """A report's ``poison``: C, A, the anchor's file, and how well the original fits C."""
    return {"concept": concept, "towards": towards, "anchor": anchor, "similarity": similarity}


def similarities(
    paths: Sequence[Path], words: str, model: str, device: torch.device | str = "cpu"
) -> list[float | None]:
    """How well each picture fits a sentence, by a CLIP's or SigLIP's cosine.

    Args:
        model: for transformers, a folder or a hub id.

    Returns:
        One number a picture, None for those that cannot be read.

    Raises:
        ModelError: the model cannot be had.
    """
    match = load_text_matcher(model, [words], torch.device(device))
    found: list[float | None] = []
    for path in paths:
        try:
            picture = shrink(load_artwork(path).pixels, MATCHING_SIDE)
        except ArtworkError:
            found.append(None)
            continue
        found.append(float(match(picture)[0, 0]))
    return found


def anchors_in(folder: Path) -> list[Path]:
    """The pictures in a folder, all of which can be read.

    Raises:
        ArtworkError: there are none, or one is broken.
    """
    if not folder.is_dir():
        raise AnchorError(f"Expected a folder of anchors, but {named(folder)} is none.")
    paths = [path for path, _ in find_artworks([folder])]
    for path in paths:
        load_artwork(path)
    return paths


def draw_anchors(
    draw: TextToImage, prompt: str, count: int, folder: Path, seed: int = 0
) -> list[Path]:
    """Anchors that a model draws, one seed each; those that are there already are not drawn again.

    Args:
        folder: gets them, each named after what was asked of which model, and its number.
        seed: the first one.

    Raises:
        ArtworkError: they cannot be written.
    """
    if count < 1:
        raise AnchorError(f"Expected at least one anchor to draw, but got {count}.")
    key = hashlib.sha256(f"{draw.name}|{prompt}|{seed}".encode()).hexdigest()[:12]
    make_folder(folder)
    paths = [folder / f"{key}-{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.is_file():
            picture = draw([prompt], [seed * 1_000_003 + number])
            save_artwork(picture, Artwork(picture), path)
    return paths


def most_prototypical(paths: Sequence[Path], scores: Sequence[float | None]) -> list[Path]:
    """The better half of the anchors by their similarity to the concept, at least one.

    Differs: the paper takes what its model draws as it is, and names no choice among it.
    """
    known = [-2.0 if score is None else score for score in scores]
    order = sorted(range(len(paths)), key=lambda i: (-known[i], i))
    kept = sorted(order[: max(1, (len(paths) + 1) // 2)])
    return [paths[i] for i in kept]
