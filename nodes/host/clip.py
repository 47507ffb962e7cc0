"""The two towers of a CLIP, from the host's image half and its text half.

The host's text encoders serve image generators, and end where those want it: most before the layer
that leads into the space which both towers share.  So that layer is taken from the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..sockets import from_images

Towers = tuple[Callable[[Tensor], Tensor], Callable[[Sequence[str]], Tensor]]
"""Features (B, D) of images (B, 3, H, W) in [0, 1], and (S, D) of S sentences."""


def towers_of(clip_vision: Any, clip: Any) -> Towers:
    """What sees, and what reads; both while the host has them loaded.

    Raises:
        ValueError: what is wired at ``clip`` has no such layer; told when it first reads.
    """

    def see(images: Tensor) -> Tensor:
        features: Tensor = clip_vision.encode_image(from_images(images))["image_embeds"]
        return features

    def read(sentences: Sequence[str]) -> Tensor:
        tokens = [clip.tokenize(sentence) for sentence in sentences]
        pooled = [clip.encode_from_tokens(one, return_pooled="unprojected")[1] for one in tokens]
        texts = torch.cat(pooled).float().cpu()
        return texts @ _projection(clip, texts.shape[-1]).T

    return see, read


def _projection(clip: Any, width: int) -> Tensor:
    """The matrix (D, width) of the text half's last layer.

    Where a file has none, the host leaves whatever stood in memory, most of it zeros.
    """
    for key, weight in clip.get_sd().items():
        if key.endswith("text_projection.weight") and weight.shape[-1] == width:
            found: Tensor = weight.float().cpu()
            if found.std() > 1e-3:  # of CLIP's own some 0.02
                return found
    raise ValueError(
        "The text half of a CLIP must end in a layer called text_projection, but what is wired to "
        "the socket 'clip' has none, as the CLIP of an SD 1.5 checkpoint; load one that is saved "
        "whole, or choose a judge from models/glaze_judges."
    )
