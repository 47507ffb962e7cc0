"""Genre shift: whether mimicked pictures still belong to the artist's genre (Glaze, §6.2).

A picture has shifted when the three genres that a classifier ranks highest do not hold the
artist's.  The paper asks CLIP; any classifier with names for what it sees can be asked the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..images import shrink
from ..networks.transformers_models import load_text_matcher
from .features import SIDE
from .intervals import Interval, share_interval

WIKIART_GENRES = (
    "Abstract Expressionism",
    "Action painting",
    "Analytical Cubism",
    "Art Nouveau Modern",
    "Baroque",
    "Color Field Painting",
    "Contemporary Realism",
    "Cubism",
    "Early Renaissance",
    "Expressionism",
    "Fauvism",
    "High Renaissance",
    "Impressionism",
    "Mannerism Late Renaissance",
    "Minimalism",
    "Naive Art Primitivism",
    "New Realism",
    "Northern Renaissance",
    "Pointillism",
    "Pop Art",
    "Post Impressionism",
    "Realism",
    "Rococo",
    "Romanticism",
    "Symbolism",
    "Synthetic Cubism",
    "Ukiyo-e",
)
"""WikiArt's 27, as Tan et al. (2019) name them."""

DIGITAL_GENRES = (
    "Anime",
    "Caricature",
    "Cartoon",
    "Picture Books",
    "Comics",
    "Commercial Art",
    "Concept Art",
    "Fantasy",
    "Fashion",
    "Fine art",
    "Line art",
    "Retro",
    "Storyboard",
)
"""The paper has 13 and prints none; 12 are those of the IMPRESS repository's classifier.

The thirteenth was found in no source: ``Storyboard`` is this project's choice.
"""

GENRES = WIKIART_GENRES + DIGITAL_GENRES

PROMPT = "a {} artwork"
"""Differs: the paper does not print its prompts."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """What names the style of a picture.

    Attributes:
        name: of the model, for the tables.
        labels: L of them.
        scores: images (B, 3, H, W) in [0, 1] to (B, L); only their order counts.
        device: where it computes.
    """

    name: str
    labels: tuple[str, ...]
    scores: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.no_grad()
    def rank(self, pictures: Iterable[Tensor]) -> list[tuple[str, ...]]:
        """All labels for each picture (1, 3, H, W), best first."""
        ranked = []
        for picture in pictures:
            order = self.scores(shrink(picture, SIDE).to(self.device))[0].argsort(descending=True)
            ranked.append(tuple(self.labels[int(i)] for i in order))
        return ranked

    def label(self, name: str) -> str:
        """The label called ``name``, upper and lower case alike.

        Raises:
            ValueError: there is none.
        """
        for label in self.labels:
            if label.casefold() == name.casefold():
                return label
        raise ValueError(f"Expected a genre among {', '.join(self.labels)}, but got {name}.")


def load_clip(
    name: str, labels: Sequence[str] = GENRES, device: torch.device | str = "cpu"
) -> Classifier:
    """CLIP or SigLIP as a classifier of genres.

    Args:
        name: a folder, or a hub id such as ``openai/clip-vit-base-patch32``.
        labels: the genres to choose from.
    """
    device = torch.device(device)
    sentences = [PROMPT.format(label) for label in labels]
    return Classifier(
        Path(name).name, tuple(labels), load_text_matcher(name, sentences, device), device
    )


COLOURS = {
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "purple": (1.0, 0.0, 1.0),
    "orange": (1.0, 0.5, 0.0),
}
"""Plain colours, which any CLIP can name."""

LOST = len(COLOURS) // 2
"""Two towers that name fewer plain colours than this can hardly belong together."""


def from_towers(
    name: str,
    see: Callable[[Tensor], Tensor],
    read: Callable[[Sequence[str]], Tensor],
    labels: Sequence[str] = GENRES,
) -> tuple[Classifier, int]:
    """A classifier of two towers that were loaded apart, and how well they fit each other.

    Files for image generators may lack the layer that ends in the space which both towers share,
    and nothing tells.  So the two are first asked to name plain colours.

    Args:
        see: features (B, D) of images (B, 3, H, W) in [0, 1].
        read: features (S, D) of S sentences.

    Returns:
        The classifier, and how many of :data:`COLOURS` it names rightly; chance names one.

    Raises:
        ValueError: their features differ in width, or are no numbers.
    """
    normal = torch.nn.functional.normalize
    texts = read([PROMPT.format(label) for label in labels]).float().cpu()
    plain = torch.tensor(list(COLOURS.values()))
    seen = see(plain[:, :, None, None].expand(-1, -1, 224, 224)).float().cpu()
    if seen.shape[-1] != texts.shape[-1]:
        raise ValueError(
            f"The image tower and the text tower must be of one CLIP, but their features have "
            f"{seen.shape[-1]} and {texts.shape[-1]} numbers."
        )
    if not bool(seen.isfinite().all() and texts.isfinite().all()):
        raise ValueError("The towers of a CLIP must give numbers, but they gave NaN or infinity.")
    words = read([f"the colour {colour}" for colour in COLOURS]).float().cpu()
    named = (normal(seen, dim=-1) @ normal(words, dim=-1).T).argmax(dim=1)
    directions = normal(texts, dim=-1).T

    def scores(images: Tensor) -> Tensor:
        return normal(see(images).float().cpu(), dim=-1) @ directions

    classifier = Classifier(name, tuple(labels), scores, torch.device("cpu"))
    return classifier, int((named == torch.arange(len(COLOURS))).sum())


def has_shifted(ranked: Sequence[str], genre: str, top: int = 3) -> bool:
    """Whether a picture left the genre: its ``top`` best labels do not hold it."""
    return genre not in ranked[:top]


def genre_shift(
    ranked: Sequence[Sequence[str]],
    genre: str,
    groups: Sequence[object] | None = None,
    top: int = 3,
) -> Interval:
    """The share of pictures that left the artist's genre.

    Args:
        ranked: for each picture, what :meth:`Classifier.rank` gave.
        genre: the artist's.
        groups: for each picture, the model that drew it (see :func:`mean_interval`).
    """
    return share_interval([has_shifted(row, genre, top) for row in ranked], groups)


def usual_genre(ranked: Sequence[Sequence[str]]) -> str:
    """The genre of an artist who named none: what most of the works are ranked as."""
    firsts = [row[0] for row in ranked]
    return max(dict.fromkeys(firsts), key=firsts.count)
