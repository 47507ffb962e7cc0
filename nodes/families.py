"""The VAEs of the models that are fine-tuned most, found among the host's files by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class Family:
    """Models that share one VAE.

    Attributes:
        name: in an artist's words.
        file: what its VAE's file is usually called, as a pattern for the name in small letters.
        usual: that name.
        source: where ComfyUI's own templates take it from, a repository of the model hub.
    """

    name: str
    file: re.Pattern[str]
    usual: str
    source: str


FAMILIES = (
    Family("SDXL", re.compile(r"sd_?xl"), "sdxl_vae.safetensors", "stabilityai/sdxl-vae"),
    Family(
        "FLUX.1",
        re.compile(r"^ae\b|^ae[_-]|flux[._-]?1|flux[._-]?(vae|ae)\b"),
        "ae.safetensors",
        "Comfy-Org/z_image_turbo",
    ),
    Family("FLUX.2", re.compile(r"flux[._-]?2"), "flux2-vae.safetensors", "Comfy-Org/flux2-dev"),
    Family(
        "Qwen/Wan",
        re.compile(r"qwen[._-]?image[._-]?vae|wan[._-]?2[._-]?1"),
        "qwen_image_vae.safetensors",
        "Comfy-Org/Qwen-Image_ComfyUI",
    ),
)

_OTHERS = re.compile(r"layered|alpha|decoder|^tae|^light")
"""Files of these families that are no VAE of the whole model."""

MOST = " + ".join(family.name for family in FAMILIES)


def files_of_families(names: Sequence[str]) -> tuple[dict[str, str], list[Family]]:
    """One VAE file for each family that has one, by the family's name, and the other families."""
    found: dict[str, str] = {}
    for family in FAMILIES:
        for name in names:
            plain = PurePath(name.replace("\\", "/")).name.lower()
            if family.file.search(plain) and not _OTHERS.search(plain):
                found.setdefault(family.name, name)
    return found, [family for family in FAMILIES if family.name not in found]


def what_is_missing(missing: Sequence[Family]) -> str:
    """One sentence about families that no file was found for; empty where there is none."""
    if not missing:
        return ""
    named = "; ".join(f"{one.name} ({one.usual} from {one.source})" for one in missing)
    return f"Not in models/vae, so not guarded against: {named}."
