"""The whole chain in minutes: a random generator, six small works, three styles.

Nothing that it prints says anything about a cloak: the generator has learned nothing.  It proves
that every stage runs, here and on a reader's machine.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..files.artwork import Artwork, save_artwork
from ..files.bundled import content_pictures
from ..images import resize
from ..judges.features import load_features
from ..judges.probe import fit_probe, save_probe
from ..styles.bank import Style, builtin_styles
from ..styles.transfer import StyleTransfer, load_style_transfer
from .small_generator import SIZES, build_generator

SIDE = 96  # px
_STYLES = ("Blue woodblock print", "Sepia chalk", "Pink and black cut-outs")


def _pieces() -> list[tuple[str, Tensor]]:
    """The middle square of each bundled content picture, and its mirror image, with words."""
    pieces = []
    for number, pixels in enumerate(content_pictures()):
        side = min(pixels.shape[-2:])
        top, left = ((size - side) // 2 for size in pixels.shape[-2:])
        square = resize(pixels[..., top : top + side, left : left + side], SIDE, SIDE).clamp(0, 1)
        name = f"scene {chr(ord('a') + number)}"
        pieces += [(name, square), (f"{name} mirrored", square.flip(-1))]
    return pieces


def make_smoke_world(folder: Path) -> tuple[list[Path], Path, Path]:
    """Draw the works, fit a probe of three styles, and write an untrained generator.

    Returns:
        The works, the probe and the generator's folder; what is there already is not made again.
    """
    works = folder / "works"
    probe, generator = folder / "probe.safetensors", folder / "untrained"
    styles = [style for style in builtin_styles() if style.name in _STYLES]
    styles.sort(key=lambda style: _STYLES.index(style.name))
    if not probe.is_file():
        draw = load_style_transfer("embedded")
        works.mkdir(parents=True, exist_ok=True)
        for words, piece in _pieces():
            drawn = draw(piece, styles[0])
            save_artwork(drawn, Artwork(drawn), works / f"{words}.png")
        _fit(draw, styles, probe)
    if not generator.is_dir():
        captions = [f"{words} by ada" for words, _ in _pieces()]
        build_generator(generator, captions, SIZES["tiny"])
    return sorted(works.iterdir()), probe, generator


def _fit(draw: StyleTransfer, styles: list[Style], probe: Path) -> None:
    extractor = load_features("st-lpips-alex")
    pieces = [piece for _, piece in _pieces()]
    drawn = [(style.name, draw(piece, style)) for style in styles for piece in pieces]
    features, names = extractor.of(p for _, p in drawn), [name for name, _ in drawn]
    odd = [i for i in range(len(drawn)) if i % 2]
    even = [i for i in range(len(drawn)) if not i % 2]
    save_probe(
        fit_probe(
            features[even],
            [names[i] for i in even],
            extractor.name,
            (features[odd], [names[i] for i in odd]),
        ),
        probe,
    )
