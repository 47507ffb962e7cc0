"""What a model sees of a picture: its autoencoder's decoded picture, with and without the cloak.

A model never trains on pixels, but on the features Φ(x) that its autoencoder makes of them.  The
decoder D makes a picture of these again, and that is as near as an eye can come to them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..cloaking.effect import as_uploaded
from ..errors import first_line
from ..images import VIEW_SIZE, floats, panels_of, resize, size_with_short_side
from ..networks.encoders import Encoder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Seen:
    """What one autoencoder makes of a picture.

    Attributes:
        name: whose autoencoder it is, or the name of its file.
        original, cloaked: D(Φ(x)) and D(Φ(x + δ)), images (1, 3, H, W) in [0, 1] of one size.
    """

    name: str
    original: Tensor
    cloaked: Tensor


RoundTrip = Callable[[Tensor], Tensor]
"""Images (1, 3, H, W) in [0, 1] through an autoencoder, D(Φ(x))."""


def as_trained(picture: Tensor) -> Tensor:
    """A picture (1, 3, H, W) in [0, 1], or held as levels, as a trainer loads it after an upload.

    A JPEG of quality 85 with halved chroma; then the short side comes down to 512 px, where it is
    longer, with the softer kernel, which is nearest to averaging areas.  Of a strip it is the panel
    in the middle.
    """
    panels = panels_of(*picture.shape[-2:])
    uploaded = as_uploaded(panels[len(panels) // 2].cut(picture))
    height, width = uploaded.shape[-2:]
    size = size_with_short_side(height, width, VIEW_SIZE)
    return floats(resize(uploaded, *size, soft=True)).clamp(0, 1)


def through(original: Tensor, cloaked: Tensor, name: str, round_trip: RoundTrip) -> Seen:
    """What one autoencoder makes of a picture and of its cloaked copy, as a trainer loads them."""
    before, after = (
        round_trip(as_trained(picture)).cpu().clamp(0, 1) for picture in (original, cloaked)
    )
    return Seen(name, before, after)


def seen_by(encoder: Encoder, original: Tensor, cloaked: Tensor) -> list[Seen]:
    """What an encoder's own decoder makes of a picture and of its cloaked copy.

    Several encoders at once give one entry each.  Those without a decoder give none, and so does
    one whose decoder fails, for want of memory or otherwise: the cloak is made by then, and a
    picture on the sheet is not worth it.

    Args:
        original, cloaked: (1, 3, H, W) in [0, 1], or held as levels.
    """
    seen = []
    for one in [member for member, _ in encoder.members] or [encoder]:
        if one.decode is None:
            continue
        try:
            seen.append(through(original, cloaked, one.family or one.name, one.decoded))
        except Exception as error:  # of the many kinds, each fails in its own way
            _log.warning("%s decodes no picture here: %s", one.name, first_line(error))
    return seen
