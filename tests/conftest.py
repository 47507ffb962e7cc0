"""What every test shares: no network, caches of its own, and small stand-ins with known answers."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_glaze.encoders import Encoder
from comfy_glaze.images import to_grid

os.environ["HF_HUB_OFFLINE"] = "1"  # its client reads this once, when it is imported

ARTWORKS = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the network is refused in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def small_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of 64 px instead of 512, so that a small picture has native tiles."""
    monkeypatch.setattr("comfy_glaze.images.VIEW_SIZE", 64)


@pytest.fixture
def block_encoder() -> Encoder:
    """A linear encoder with orthonormal rows: each 8 × 8 block and colour, summed, over 8.

    The rows have disjoint supports, so that optima under a box have a closed form.
    """
    return Encoder("blocks", "0" * 16, lambda x: F.avg_pool2d(x, 8) * 8, 8, torch.device("cpu"))


def smooth_picture(height: int, width: int, seed: int = 0, batch: int = 1) -> Tensor:
    """Random soft blobs with a little grain, (B, 3, height, width) on the 8-bit grid."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 5, 5, generator=generator)
    soft = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    grain = 0.04 * torch.randn(batch, 3, height, width, generator=generator)
    return to_grid((soft + grain).clamp(0, 1))
