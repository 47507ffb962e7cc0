"""Where pictures are looked at when they are measured.

A strip is measured as its panels (see :func:`comfy_glaze.images.panels_of`), each as the picture
that a mimic cuts out of it, and each weighing as much as its area.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..images import View, floats, panels_of, views_of

MEASURED_TILES = 9
"""At most this many native tiles are measured; pictures up to 1536 × 1536 px have no more."""


def views_by_panel(height: int, width: int, wraps: bool = False) -> tuple[list[View], list[View]]:
    """All views of a picture: of each of its panels as a whole, and all others of each panel.

    A strip's panels have edges, whether it ``wraps`` (see :func:`comfy_glaze.images.views_of`) or
    not.
    """
    panels = panels_of(height, width)
    if len(panels) == 1:
        whole, *others = views_of(height, width, wraps)
        return [whole], others
    wholes: list[View] = []
    tiles: list[View] = []
    for panel in panels:
        whole, *others = (
            view.moved(panel.top, panel.left) for view in views_of(panel.height, panel.width)
        )
        wholes.append(whole)
        tiles += others
    return wholes, tiles


def measured_views(original: Tensor, wraps: bool = False) -> tuple[View, ...]:
    """The views on which pictures (B, 3, H, W) are measured: the whole picture, or each panel of a
    strip as a whole, then native tiles.

    Up to :data:`MEASURED_TILES` native tiles are all measured.  If there are more, two thirds of
    that number are evenly spread, and one third are the flattest of the rest, where a cloak shows
    first.
    """
    height, width = original.shape[-2:]
    wholes, others = views_by_panel(height, width, wraps)
    wholes, tiles = [*wholes, *(v for v in others if not v.native)], [v for v in others if v.native]
    if len(tiles) <= MEASURED_TILES:
        return (*wholes, *tiles)
    rows, columns = (sorted({getattr(tile, side) for tile in tiles}) for side in ("top", "left"))
    corners = {  # R2, a sequence that falls evenly on both axes
        (rows[int(len(rows) * (i * 0.75488 % 1))], columns[int(len(columns) * (i * 0.56984 % 1))])
        for i in range(1, 2 * MEASURED_TILES // 3 + 1)
    }
    spread = [tile for tile in tiles if (tile.top, tile.left) in corners]
    rest = [tile for tile in tiles if tile not in spread]
    rest.sort(key=lambda tile: float(floats(tile.cut(original)).diff(dim=-1).abs().mean()))
    chosen = {*spread, *rest[: MEASURED_TILES - len(spread)]}
    return (*wholes, *(tile for tile in tiles if tile in chosen))


def weights_of(views: Sequence[View]) -> list[float]:
    """How much each of some views counts: its area, in units of the first one's."""
    return [view.passes / views[0].passes for view in views]


def weighed_sum(values: Mapping[View, Tensor], views: Sequence[View]) -> Tensor:
    """The values of some views, weighed and added up, (B,)."""
    weighed = [w * values[view] for w, view in zip(weights_of(views), views, strict=True)]
    return torch.stack(weighed).sum(dim=0)
