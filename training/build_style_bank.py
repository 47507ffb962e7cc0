"""Make the style bank that ships for the embedded encoder.  Run it after every retraining.

python training/build_style_bank.py
"""

from __future__ import annotations

from comfy_glaze.files.bundled import STYLES_FOLDER
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.styles.bank_file import save_style_bank
from comfy_glaze.styles.builtin_bank import make_builtin_bank


def main() -> None:
    """Draw every built-in style on the content pictures and save the centroids."""
    encoder = load_encoder("embedded")
    bank = make_builtin_bank(encoder, lambda done, of: print(f"{done}/{of}", end="\r", flush=True))
    save_style_bank(bank, STYLES_FOLDER / f"{encoder.name}.safetensors")
    print(f"{len(bank.styles)} styles for {encoder.name} ({encoder.fingerprint})")


if __name__ == "__main__":
    main()
