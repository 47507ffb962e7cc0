"""Convert FLUX.2's tiny autoencoder from its public repository to one .safetensors file.

    python -m training.real_art.convert_autoencoder --encoder taef2_encoder.pth \\
        --decoder taef2_decoder.pth --out taef2.safetensors

Both files lie in github.com/madebyollin/taesd (MIT) at :data:`COMMIT`.  They are pickles of tensors
alone and are read as such (``weights_only``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from comfy_glaze.files.atomic import atomic_write

from .autoencoder import load_autoencoder

COMMIT = "5cccb12dc72074a4be35680c3b108548a7c69978"


def convert(encoder: Path, decoder: Path, out: Path) -> None:
    """Join both halves in float16.

    Raises:
        ValueError: the files hold another network.
    """
    weights = {}
    for name, path in (("encoder", encoder), ("decoder", decoder)):
        for key, tensor in torch.load(path, map_location="cpu", weights_only=True).items():
            weights[f"{name}.{key}"] = tensor.half().contiguous()
    with atomic_write(out) as temporary:
        save_file(weights, temporary, {"source": f"madebyollin/taesd at {COMMIT}, MIT"})
    load_autoencoder(out)


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description="Convert FLUX.2's tiny autoencoder.")
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--decoder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    convert(options.encoder, options.decoder, options.out)


if __name__ == "__main__":
    main()
