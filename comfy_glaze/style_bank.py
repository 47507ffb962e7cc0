"""Candidate styles and where their pictures lie in an encoder's feature space."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from .artwork import atomic_write
from .encoders import Encoder
from .images import shrink

STYLES_FOLDER = Path(__file__).parent / "styles"
CENTROID_SIZE = 256
"""Short side in pixels at which pictures enter a centroid."""

_FORMAT = "comfy_glaze style bank 1"


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
    """

    styles: tuple[Style, ...]
    centroids: Tensor
    encoder_name: str
    fingerprint: str

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
        )


def builtin_styles() -> tuple[Style, ...]:
    """The small list that ships with the package; the embedded style transfer renders all of it."""
    rows = json.loads((STYLES_FOLDER / "builtin.json").read_text(encoding="utf-8"))
    return tuple(Style(**row) for row in rows)


def find_style(styles: Sequence[Style], name: str) -> Style:
    """The style called ``name``, upper and lower case alike.

    Raises:
        StyleBankError: there is none; the sentence offers the nearest names.
    """
    import difflib

    by_name = {style.name.casefold(): style for style in styles}
    if name.casefold() in by_name:
        return by_name[name.casefold()]
    near = difflib.get_close_matches(name.casefold(), by_name, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(by_name[key].name for key in near)}?" if near else ""
    raise StyleBankError(
        f"There is no style called {name!r}; {hint or 'see: comfy-glaze styles list.'}"
    )


@torch.no_grad()
def centroid_of(pictures: Iterable[Tensor], encoder: Encoder) -> Tensor:
    """Where pictures lie in feature space, (2C,): the mean of their style vectors.

    A picture's style vector holds, for each feature channel, its mean and its standard deviation
    over all positions, at a short side of 256 px (smaller pictures as they are).  Pooling over
    positions forgets what is where, which is content, and keeps palette and texture, which is
    style; and pictures of any size and shape become comparable.

    Args:
        pictures: images (1, 3, H, W) in [0, 1].

    Raises:
        StyleBankError: there is no picture.

    Differs: the paper says "feature space centroid" without naming a pooling.
    """
    vectors = []
    for picture in pictures:
        small = shrink(picture, CENTROID_SIZE)
        features = encoder(small.to(encoder.device)).flatten(2)
        vectors.append(torch.cat([features.mean(dim=2), features.std(dim=2, correction=0)], dim=1))
    if not vectors:
        raise StyleBankError("A centroid needs at least one picture, but none was given.")
    return torch.cat(vectors).mean(dim=0).float().cpu()


def build_style_bank(
    styles: Sequence[Style],
    pictures_in: Callable[[Style], Iterable[Tensor]],
    encoder: Encoder,
    on_style: Callable[[int, int], None] | None = None,
) -> StyleBank:
    """Compute the centroids of styles.

    Args:
        styles: the candidates.
        pictures_in: gives a few images (1, 3, H, W) in [0, 1] in a style.
        encoder: Φ.
        on_style: called with (done, all) after each style.
    """
    centroids = []
    for index, style in enumerate(styles):
        centroids.append(centroid_of(pictures_in(style), encoder))
        if on_style is not None:
            on_style(index + 1, len(styles))
    rounded = torch.stack(centroids).half().float()  # as a file holds them
    return StyleBank(tuple(styles), rounded, encoder.name, encoder.fingerprint)


def save_style_bank(bank: StyleBank, path: Path) -> None:
    """Write one .safetensors file: float16 centroids, styles and encoder in its metadata."""
    from safetensors.torch import save_file

    metadata = {
        "format": _FORMAT,
        "encoder": bank.encoder_name,
        "fingerprint": bank.fingerprint,
        "styles": json.dumps([asdict(style) for style in bank.styles]),
    }
    with atomic_write(path) as temporary:
        save_file({"centroids": bank.centroids.half().contiguous()}, temporary, metadata)


def load_style_bank(path: Path) -> StyleBank:
    """Read a bank.

    Raises:
        StyleBankError: the file is missing, or is not a bank.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise StyleBankError(f"Expected a style bank, but {path.name} is another file.")
            styles = tuple(Style(**row) for row in json.loads(metadata["styles"]))
            centroids = file.get_tensor("centroids").float()
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise StyleBankError(f"Expected a style bank, but {path.name}: {error}.") from error
    if centroids.ndim != 2 or len(styles) != len(centroids):
        raise StyleBankError(
            f"Expected one centroid per style in {path.name}, but it has {len(styles)} styles "
            f"and centroids of shape {tuple(centroids.shape)}."
        )
    return StyleBank(styles, centroids, metadata["encoder"], metadata["fingerprint"])
