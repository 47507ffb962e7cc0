"""Make the pictures of the README, the robustness page and the presets from what cloaking has left.

    for preset in gallery default strong; do
        comfy-glaze cloak samples/*.png --preset $preset --out presets/$preset --style-seed 2; done
    python docs/figures.py

The first shows the harbour under the default preset: the whole of it, a detail at its own size, and
what the cloak leads towards. The second shows a detail of each bundled artwork, at its own size,
under every preset; three of these are the pictures that the page's presets are chosen by.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parent.parent
PICTURES = (
    ("original", ROOT / "samples/harbour.png"),
    ("cloaked", ROOT / "presets/default/harbour.png"),
    ("what the encoder is led towards", ROOT / "presets/default-reports/harbour.png.styled.png"),
)
DETAIL = (330, 190, 630, 415)  # px: the sail
PRESETS = ("original", "gallery", "default", "strong")
DETAILS = {  # px: a place with even ground and with detail
    "harbour": (330, 190, 570, 430),
    "poster": (330, 330, 570, 570),
    "ink": (300, 220, 540, 460),
    "pastel": (140, 400, 380, 640),
}
TILE = ("poster", (335, 335, 515, 455))  # px: even ground, where a cloak shows first
MARGIN, TITLE = 12, 30
Rows = Sequence[Sequence[Image.Image]]


def draw_sheet(titles: Sequence[str], rows: Rows) -> Image.Image:
    """Pictures of one size in rows, under titles."""
    width, height = rows[0][0].size
    size = (
        len(titles) * (width + MARGIN) + MARGIN,
        TITLE + len(rows) * (height + MARGIN),
    )
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, title in enumerate(titles):
        left = MARGIN + column * (width + MARGIN)
        draw.text((left, 8), title, fill=(40, 40, 40), font=font)
        for row, pictures in enumerate(rows):
            sheet.paste(pictures[column], (left, TITLE + row * (height + MARGIN)))
    return sheet


def before_after() -> Image.Image:
    """The harbour, whole and in detail."""
    pictures = [Image.open(path).convert("RGB") for _, path in PICTURES]
    details = [picture.crop(DETAIL) for picture in pictures]
    wholes = [p.resize(details[0].size, Image.Resampling.LANCZOS) for p in pictures]
    return draw_sheet([title for title, _ in PICTURES], [wholes, details])


def under(name: str, preset: str) -> Image.Image:
    """A bundled artwork under a preset."""
    folder = ROOT / ("samples" if preset == "original" else f"presets/{preset}")
    return Image.open(folder / f"{name}.png").convert("RGB")


def presets() -> Image.Image:
    """Details under every preset."""
    rows = [[under(name, preset).crop(box) for preset in PRESETS] for name, box in DETAILS.items()]
    return draw_sheet(PRESETS, rows)


def main() -> None:
    """Write docs/before-after.png, docs/presets.webp and web/pictures/preset-*.webp."""
    before_after().save(ROOT / "docs/before-after.png", optimize=True)
    presets().save(ROOT / "docs/presets.webp", lossless=True)
    name, box = TILE
    for preset in PRESETS[1:]:
        under(name, preset).crop(box).save(ROOT / f"web/pictures/preset-{preset}.webp", quality=92)


if __name__ == "__main__":
    main()
