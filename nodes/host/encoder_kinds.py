"""The host's kinds of VAE: what artists call them, and which of them cannot lead a cloak."""

from __future__ import annotations

from typing import Any

from ...comfy_glaze.networks import families

FITTING = (
    "Wire the VAE of the model that you worry about: of an SD, SDXL, FLUX, Qwen-Image or Wan "
    "checkpoint, or the small one of its family (TAESD, TAEHV)."
)

_FAMILIES = {
    ("AutoencoderKL", 4): families.SD,
    ("AutoencoderKL", 16): "HunyuanVideo's",
    ("AutoencoderKL", 128): families.FLUX_2,
    ("AutoencoderKL", 3): "SD's upscaler's",
    ("AutoencodingEngine", 4): families.SD,
    ("AutoencodingEngine", 16): families.FLUX_1,
    ("AutoencodingEngine", 32): "HunyuanVideo 1.5's",
    ("AutoencodingEngine", 64): "HunyuanImage 2.1's",
    ("AutoencoderKLCogVideoX", 16): "CogVideoX's",
    ("CausalDiffusionVAE", 128): "LTX-2's",
    ("CausalContinuousVideoTokenizer", 16): "Cosmos 1's",
    ("MageVAE", 128): "Mage's",
    ("MiniMaxH3VideoVAE", 24): "MiniMax H3's",
    ("PixelspaceConversionVAE", 3): "a pixel model's",
    ("StageA", 4): "Stable Cascade's",
    ("StageC_coder", 16): "Stable Cascade's",
    ("TAESD", 4): families.small(families.SD),
    ("TAESD", 16): families.small(families.FLUX_1),
    ("TAESD", 128): families.small(families.FLUX_2),
    ("TAEHV", 16): families.small(families.WAN_2_1),
    ("TAEHV", 24): families.small("MiniMax H3's"),
    ("TAEHV", 32): families.small("HunyuanVideo 1.5's"),
    ("TAEHV", 48): families.small(families.WAN_2_2),
    ("TAEHV", 128): families.small("LTX-2's"),
    ("VideoAutoencoderKLWrapper", 16): "SeedVR2's",
    ("VideoVAE", 12): "Mochi's",
    ("VideoVAE", 128): "LTX-Video's",
    ("WanVAE", 16): families.WAN_2_1,
    ("WanVAE", 48): families.WAN_2_2,
}
"""Whose a VAE is, by its class in the host and the number of its latent channels."""


def called(vae: Any) -> str:
    """Whose VAE this is, in an artist's words (``FLUX.2's``); the host's word for unknown ones."""
    kind = type(vae.first_stage_model).__name__
    return _FAMILIES.get((kind, getattr(vae, "latent_channels", 0)), kind)


def why_unfit(vae: Any) -> str | None:
    """Why a VAE that loads cannot lead a cloak; None for all others."""
    net = vae.first_stage_model
    match type(net).__name__:
        case "PixelspaceConversionVAE":
            return (
                "it gives back the pixels themselves. Models that work on pixels, such as Chroma "
                "Radiance, have no encoder, so no cloak of this kind reaches them"
            )
        case "StageA":
            return "it rounds its features, which leaves no direction to move in"
        case "StageC_coder" if not bool(net.encoder.mapper[1].running_mean.any()):
            return "this file is a previewer, which decodes, and brings no encoder"
        case "TAESD" if vae.latent_channels == 32:
            return (
                "ComfyUI takes this file of FLUX.2's small encoder for another kind. Load it with "
                "Load Encoder, or put its two halves into models/vae_approx"
            )
    if vae.latent_dim not in (2, 3) or getattr(vae, "output_channels", 3) < 3:
        return "it is not for pictures"
    return None


_IN_HALVES = {("StageC_coder", 16), ("VideoVAE", 12)}  # Stable Cascade's and Mochi's


def decodes(vae: Any) -> bool:
    """Whether a VAE's decoder makes pictures of what its encoder gives.

    The host tells most kinds by their decoder, so that it is there.  Some kinds come in halves, and
    the newest hosts leave weights that a file lacks without values.
    """
    net = vae.first_stage_model
    if (type(net).__name__, vae.latent_channels) in _IN_HALVES:
        return False
    return not any(weight.is_meta and weight.ndim > 1 for weight in net.parameters())


def hosts_block(vae: Any) -> int:
    """The side of the pixel blocks that ``vae.encode`` takes whole, at least 8."""
    if type(vae.first_stage_model).__name__ == "TAESD" and vae.latent_channels == 128:
        return 16  # packs 2 × 2 of its features, which the host does not count
    return max(int(vae.spacial_compression_encode()), 8)
