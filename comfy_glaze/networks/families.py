"""Whose an encoder is, in the words of those who use the models.

Models that train on one latent space are reached by one cloak, so an encoder is called after the
best known of them.
"""

from __future__ import annotations

SD = "SD 1, 2 or XL's"
FLUX_1 = "FLUX.1's or SD 3's"
FLUX_2 = "FLUX.2's"
WAN_2_1 = "Qwen-Image's or Wan 2.1's"
WAN_2_2 = "Wan 2.2's"
SANA = "Sana's"


def small(family: str) -> str:
    """The family of a small encoder that was made after a large one (TAESD, TAEHV)."""
    return f"{family} small"
