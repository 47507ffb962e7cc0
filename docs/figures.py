"""Make the README's picture and table from the bundled artworks; some ten minutes on two cores.

    python docs/figures.py

Every artwork is cloaked with every preset on the embedded encoder, as the command line does it.
The picture shows the harbour under the default preset: the whole of it, a detail at its own size,
and what the cloak leads towards.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from comfy_glaze.budget import PRESETS
from comfy_glaze.cloak import CloakSettings
from comfy_glaze.portfolio import cloak_file, open_studio

HERE = Path(__file__).parent
ARTWORKS = [HERE.parent / "examples" / f"{name}.png" for name in ("harbour", "poster", "ink")]
DETAIL = (330, 190, 630, 415)  # of the harbour, in pixels: the sail
MARGIN, TITLE = 12, 30


def cloak_all(folder: Path) -> list[dict[str, Any]]:
    """Cloak every artwork with every preset; files go to ``folder``/preset."""
    reports = []
    for preset, budget in PRESETS.items():
        for artwork in ARTWORKS:
            settings = CloakSettings(preset=preset)
            studio = open_studio([artwork], budget, settings)
            target = folder / preset / artwork.name
            reports.append(cloak_file(artwork, target, target, studio))
            print(row(reports[-1]), flush=True)
    return reports


def row(report: dict[str, Any]) -> str:
    """One line of the table."""
    cap = report["settings"]["linf"] * 255
    shift = report["shift"]
    return (
        f"| {report['source']['file']} | {report['settings']['preset']} | {cap:.0f} "
        f"| {shift['512']:.2f} | {shift['native']:.2f} "
        f"| {report['perceptual']['value']:.4f} | {report['psnr']:.1f} "
        f"| {report['gradients']:.0f} | {report['seconds']['total']:.0f} |"
    )


def before_after(folder: Path) -> Image.Image:
    """Original, cloaked and styled, each whole and as a detail at its own size."""
    pictures = [
        ("original", ARTWORKS[0]),
        ("cloaked", folder / "harbour.png"),
        ("what the encoder is led towards", folder / "harbour.png.styled.png"),
    ]
    width, height = DETAIL[2] - DETAIL[0], DETAIL[3] - DETAIL[1]
    font = ImageFont.load_default(16)
    sheet = Image.new(
        "RGB", (3 * (width + MARGIN) + MARGIN, TITLE + 2 * (height + MARGIN)), "white"
    )
    draw = ImageDraw.Draw(sheet)
    for column, (title, path) in enumerate(pictures):
        picture = Image.open(path).convert("RGB")
        left = MARGIN + column * (width + MARGIN)
        draw.text((left, 8), title, fill=(40, 40, 40), font=font)
        whole = picture.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(whole, (left, TITLE))
        sheet.paste(picture.crop(DETAIL), (left, TITLE + height + MARGIN))
    return sheet


def main() -> None:
    """Print the table and write the picture."""
    print(
        "| artwork | preset | cap | shift 512 | shift native | perceptual | PSNR | gradients | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        cloak_all(Path(temporary))
        before_after(Path(temporary) / "default").save(HERE / "before-after.png", optimize=True)


if __name__ == "__main__":
    main()
