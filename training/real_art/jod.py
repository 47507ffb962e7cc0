"""How visible cloaks are to ColorVideoVDP (Mantiuk et al., SIGGRAPH 2024), which nothing optimises.

    pip install cvvdp
    python -m training.real_art.jod --autoencoder taef2.safetensors --artists denslow \\
        --kinds "beyond sent latents/default"

prints how many JOD the works lose, in just-objectionable differences: after one of them three of
four viewers prefer the original.  Works are shown pixel for pixel, on a 24-inch display of full HD
at 60 cm (38 pixels a degree).  Cloaks are taken from the folder, and made where they are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from comfy_glaze.images import to_levels
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles.transfer import load_style_transfer

from .autoencoder import load_autoencoder
from .cloaks import Cloaker, kind_called
from .generator import load_generator
from .objectives import Networks
from .pictures import load_square, read_pieces
from .split import mimic_works
from .world import JUDGED, SCREENING, arguments

DISPLAY = "standard_fhd"
_PERFECT = 10.0


def load_judge() -> Any:
    """ColorVideoVDP for one display."""
    from pycvvdp import cvvdp

    return cvvdp(display_name=DISPLAY)


def lost(judge: Any, original: Tensor, cloaked: Tensor) -> float:
    """JOD that a picture (1, 3, H, W) loses; 0 for none."""
    found, _ = judge.predict(to_levels(cloaked), to_levels(original), dim_order="HWC")
    return _PERFECT - float(found)


def main() -> None:
    """A line for every kind and artist."""
    parser = arguments("Measure how visible cloaks are to ColorVideoVDP.")
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--artists", nargs="+", choices=JUDGED, default=SCREENING)
    parser.add_argument("--kinds", nargs="+", default=["beyond sent latents/default"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    generator, _ = load_generator(options.folder / "generator.safetensors")
    cloaker = Cloaker(
        options.folder,
        Networks(load_autoencoder(options.autoencoder), generator),
        load_style_transfer("embedded", device),
        load_metric("auto", device),
    )
    judge, pieces = load_judge(), read_pieces(options.folder)
    for kind in options.kinds:
        for artist in options.artists:
            losses = []
            for piece in mimic_works(pieces, artist, 0):
                cloaked, _ = cloaker.cloaked(piece, kind_called(kind))
                losses.append(lost(judge, load_square(piece.path), cloaked))
            mean = sum(losses) / len(losses)
            print(f"{kind}, {artist}: {mean:.2f} JOD, at most {max(losses):.2f}", flush=True)


if __name__ == "__main__":
    main()
