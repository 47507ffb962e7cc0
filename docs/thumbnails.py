"""Draw the templates' thumbnails: pictures, and one big word.

    python -m docs.thumbnails

Most show what people see of a cloaked painting on the left, and what a model is led towards on the
right, from ``docs/before-after.png`` (see ``docs/figures.py``).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parent.parent
SIZE = (640, 400)
BAND = 120  # px: the word's
CLOAKED = {"whole": (324, 30, 624, 255), "detail": (324, 267, 624, 492)}  # px, in before-after.png
STYLED = {"whole": (636, 30, 936, 255), "detail": (636, 267, 936, 492)}
WORDS: dict[str, tuple[str, str, tuple[str, ...]]] = {  # by number: word, colour, pictures
    "01": ("APP", "#e8811a", ("cloaked whole", "styled whole")),
    "02": ("STEPS", "#4a8fc4", ("cloaked detail", "styled detail")),
    "03": ("FOLDER", "#58a062", ("harbour", "poster", "ink", "pastel")),
    "04": ("TRY IT", "#6b7079", ("harbour",)),
    "05": ("AFTER", "#d0603a", ("pastel",)),
    "06": ("SAVED", "#8f66bd", ("ink", "pastel")),
    "07": ("STYLES", "#b5852f", ("styled whole", "styled detail", "harbour")),
    "08": ("TWO", "#3f6fb0", ("styled whole", "styled detail")),
    "09": ("UPLOADS", "#3c8793", ("cloaked whole", "small")),
    "10": ("OTHERS", "#7054bd", ("poster", "ink")),
    "11": ("MIMIC", "#b0486a", ("styled whole",)),
    "12": ("POISON", "#5f2c70", ("poster",)),
}


def picture(name: str) -> Image.Image:
    """A bundled artwork, a part of before-after.png, or one that an upload has made small."""
    if name == "small":
        few = picture("cloaked whole").resize((75, 56), Image.Resampling.LANCZOS)
        return few.resize(SIZE, Image.Resampling.NEAREST)
    kind, _, part = name.partition(" ")
    if not part:
        return Image.open(ROOT / f"samples/{kind}.png").convert("RGB")
    sheet = Image.open(ROOT / "docs/before-after.png").convert("RGB")
    return sheet.crop((CLOAKED if kind == "cloaked" else STYLED)[part])


def draw(word: str, colour: str, names: tuple[str, ...]) -> Image.Image:
    """One thumbnail."""
    canvas = Image.new("RGB", SIZE, "white")
    gap, height = 4, SIZE[1] - BAND
    width = (SIZE[0] - gap * (len(names) - 1)) // len(names)
    for number, name in enumerate(names):
        one = picture(name)
        scale = max(width / one.width, height / one.height)
        size = (round(one.width * scale), round(one.height * scale))
        one = one.resize(size, Image.Resampling.LANCZOS)
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        one = one.crop((left, top, left + width, top + height))
        canvas.paste(one, (number * (width + gap), 0))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, height, *SIZE), fill=colour)
    middle = (SIZE[0] // 2, height + BAND // 2)
    pen.text(middle, word, fill="white", font=ImageFont.load_default(108), anchor="mm")
    return canvas


def main() -> None:
    """Write workflows/*.jpg."""
    for workflow in sorted((ROOT / "workflows").glob("Glaze *.json")):
        number = workflow.name.split()[1]
        draw(*WORDS[number]).save(workflow.with_suffix(".jpg"), quality=82, optimize=True)


if __name__ == "__main__":
    main()
