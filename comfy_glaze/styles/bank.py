"""Candidate styles and where their pictures lie in an encoder's feature space."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..files.bundled import STYLES_FOLDER
from ..images import shrink
from ..networks.encoders import Encoder
from .vectors import DEFAULT_STATISTIC, STYLE_VECTORS

CENTROID_SIZE = 256
"""Short side in pixels at which pictures enter a centroid."""

PICTURES_AT_ONCE = 8
"""How many pictures of one size are encoded together at most, for the sake of memory."""


class StyleBankError(ValueError):
    """A style or a bank that cannot be had, in one sentence."""


@dataclass(frozen=True)
class Style:
    """A candidate target style.

    Attributes:
        name: shown to people, unique in a bank.
        genre: the nearest of WikiArt's genres.
        artist: the painter, or None for a style without one.
        prompt: what img2img is asked for.
        embedded: its number in the embedded style transfer, or None where that cannot render it.
    """

    name: str
    genre: str
    artist: str | None
    prompt: str
    embedded: int | None


@dataclass(frozen=True, eq=False)
class StyleBank:
    """Styles with their centroids, which mean something for one encoder only.

    Attributes:
        styles: N candidates.
        centroids: (N, D) float32, see :func:`centroid_of`.
        encoder_name, fingerprint: the encoder that made the centroids.
        statistic: a key of :data:`comfy_glaze.styles.vectors.STYLE_VECTORS`.
        thumbnails: small WebP files by style name, for some of the styles or none.
    """

    styles: tuple[Style, ...]
    centroids: Tensor
    encoder_name: str
    fingerprint: str
    statistic: str = DEFAULT_STATISTIC
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)

    def check(self, encoder: Encoder) -> None:
        """Raise unless ``encoder`` is the one that made this bank.

        Raises:
            StyleBankError: naming both encoders.
        """
        if encoder.fingerprint != self.fingerprint:
            raise StyleBankError(
                f"This style bank was made with the encoder {self.encoder_name} "
                f"({self.fingerprint}), but the encoder in use is {encoder.name} "
                f"({encoder.fingerprint})."
            )

    def restricted_to(self, keep: Callable[[Style], bool]) -> StyleBank:
        """The bank of those styles for which ``keep`` says yes."""
        chosen = [i for i, style in enumerate(self.styles) if keep(style)]
        return StyleBank(
            tuple(self.styles[i] for i in chosen),
            self.centroids[chosen],
            self.encoder_name,
            self.fingerprint,
            self.statistic,
            self.thumbnails,
        )

    def thumbnail(self, name: str) -> bytes | None:
        """A small picture in the style called ``name``, as a WebP file, or None without one."""
        return self.thumbnails.get(name)

    def listing(self) -> list[dict[str, Any]]:
        """What a gallery shows of each style: name, genre, artist, and whether it has a picture."""
        return [
            {
                "name": style.name,
                "genre": style.genre,
                "artist": style.artist,
                "thumbnail": style.name in self.thumbnails,
            }
            for style in self.styles
        ]


def builtin_styles() -> tuple[Style, ...]:
    """The small list that ships with the package; the embedded style transfer renders all of it."""
    rows = json.loads((STYLES_FOLDER / "builtin.json").read_text(encoding="utf-8"))
    return tuple(Style(**row) for row in rows)


def find_style(styles: Sequence[Style], name: str) -> Style:
    """The style called ``name``, upper and lower case alike, or the only one by such an artist.

    Raises:
        StyleBankError: there is none, or the artist has several; the sentence offers names.
    """
    import difflib

    by_name = {style.name.casefold(): style for style in styles}
    if name.casefold() in by_name:
        return by_name[name.casefold()]
    by_artist = [s for s in styles if s.artist and s.artist.casefold() == name.casefold()]
    if len(by_artist) == 1:
        return by_artist[0]
    if by_artist:
        raise StyleBankError(
            f"There are {len(by_artist)} styles by {by_artist[0].artist}; "
            f"which one: {', '.join(style.name for style in by_artist)}?"
        )
    near = difflib.get_close_matches(name.casefold(), by_name, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(by_name[key].name for key in near)}?" if near else ""
    raise StyleBankError(
        f"There is no style called {name!r}; {hint or 'see: comfy-glaze styles list.'}"
    )


@torch.no_grad()
def style_vectors(pictures: Sequence[Tensor], encoder: Encoder, statistic: str) -> Tensor:
    """One vector per picture, (B, D) float32 on the CPU; pictures of one size go together.

    Args:
        pictures: images (1, 3, H, W) in [0, 1], of any sizes.
        statistic: a key of :data:`comfy_glaze.styles.vectors.STYLE_VECTORS`.

    Raises:
        StyleBankError: an unknown statistic.
    """
    if statistic not in STYLE_VECTORS:
        raise StyleBankError(
            f"Expected a statistic among {', '.join(STYLE_VECTORS)}, but got {statistic}."
        )
    small = [shrink(picture, CENTROID_SIZE).clamp(0, 1) for picture in pictures]
    vectors: dict[int, Tensor] = {}
    for size in dict.fromkeys(picture.shape for picture in small):
        alike = [i for i, picture in enumerate(small) if picture.shape == size]
        for start in range(0, len(alike), PICTURES_AT_ONCE):
            some = alike[start : start + PICTURES_AT_ONCE]
            features = encoder(torch.cat([small[i] for i in some]).to(encoder.device))
            vectors |= zip(some, STYLE_VECTORS[statistic](features).float().cpu(), strict=True)
    return torch.stack([vectors[i] for i in range(len(small))])


def centroid_of(
    pictures: Iterable[Tensor], encoder: Encoder, statistic: str = DEFAULT_STATISTIC
) -> Tensor:
    """Where pictures lie in feature space, (D,): the mean of their style vectors.

    By default a picture's style vector holds, for each feature channel, its mean and its standard
    deviation over all positions, at a short side of 256 px (smaller pictures as they are).  Pooling
    over positions forgets what is where, which is content, and keeps palette and texture, which is
    style; and pictures of any size and shape become comparable.  ``docs/styles.md`` has the
    measures behind this choice.

    Args:
        pictures: images (1, 3, H, W) in [0, 1].
        statistic: a key of :data:`comfy_glaze.styles.vectors.STYLE_VECTORS`.

    Raises:
        StyleBankError: there is no picture.

    Differs: the paper says "feature space centroid" without naming a pooling; read literally,
    position by position, it is the statistic ``places``.
    """
    # one after another: an artist may give many pictures, and one batch would hold them all
    vectors = [style_vectors([picture], encoder, statistic) for picture in pictures]
    if not vectors:
        raise StyleBankError("A centroid needs at least one picture, but none was given.")
    return torch.cat(vectors).mean(dim=0)
