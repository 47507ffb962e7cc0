"""Make the README's picture from what its first command left.

    comfy-glaze cloak examples/harbour.png --out cloaked
    python docs/figures.py

The harbour under the default preset: the whole of it, a detail at its own size, and what the cloak
leads towards.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parent.parent
PICTURES = (
    ("original", ROOT / "examples/harbour.png"),
    ("cloaked", ROOT / "cloaked/harbour.png"),
    ("what the encoder is led towards", ROOT / "cloaked-reports/harbour.png.styled.png"),
)
DETAIL = (330, 190, 630, 415)  # px: the sail
MARGIN, TITLE = 12, 30


def main() -> None:
    """Write docs/before-after.png."""
    width, height = DETAIL[2] - DETAIL[0], DETAIL[3] - DETAIL[1]
    font = ImageFont.load_default(16)
    size = (len(PICTURES) * (width + MARGIN) + MARGIN, TITLE + 2 * (height + MARGIN))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, (title, path) in enumerate(PICTURES):
        picture = Image.open(path).convert("RGB")
        left = MARGIN + column * (width + MARGIN)
        draw.text((left, 8), title, fill=(40, 40, 40), font=font)
        whole = picture.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(whole, (left, TITLE))
        sheet.paste(picture.crop(DETAIL), (left, TITLE + height + MARGIN))
    sheet.save(ROOT / "docs/before-after.png", optimize=True)


if __name__ == "__main__":
    main()
