"""Φ and D of the world on real art: FLUX.2's tiny autoencoder, both halves of it.

It is a real, distilled autoencoder (taef2, MIT, by Ollin Boer Bohan): pictures of real art go
through it well.  Nobody trains on its latents, so nothing that is measured with it is a claim about
FLUX.2, whose own encoder packs and normalises them.  ``convert_autoencoder.py`` writes the file
that is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from comfy_glaze.networks.encoders import Encoder, fingerprint_of

CHANNELS, FACTOR = 32, 8
"""Of the latents: channels, and pixels for each of their positions."""

_WIDTH = 64
_GROUPS = 4  # of the pools' normalisation
_RANGE = 3.0  # the decoder bends latents softly into ±3


class _Block(nn.Module):
    """Three convolutions around a shortcut; with a pool, the picture's statistics come first."""

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        inner = 4 * _WIDTH
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(_WIDTH, inner, 1, bias=False),
                nn.GroupNorm(_GROUPS, inner),
                nn.ReLU(),
                nn.Conv2d(inner, _WIDTH, 1, bias=False),
            )
        self.pooled = pooled
        self.conv = nn.Sequential(
            _conv(_WIDTH, _WIDTH),
            nn.ReLU(),
            _conv(_WIDTH, _WIDTH),
            nn.ReLU(),
            _conv(_WIDTH, _WIDTH),
        )

    def forward(self, features: Tensor) -> Tensor:
        if self.pooled:
            features = features + self.pool(features)
        return torch.relu(self.conv(features) + features)


class _Bend(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(latents / _RANGE) * _RANGE


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)


def encoder_network() -> nn.Sequential:
    """Pictures (B, 3, H, W) in [0, 1] to latents (B, 32, H/8, W/8)."""
    layers: list[nn.Module] = [_conv(3, _WIDTH), _Block()]
    for level in range(3):
        layers.append(_conv(_WIDTH, _WIDTH, stride=2, bias=False))
        layers += [_Block(pooled=level == 2) for _ in range(3)]
    return nn.Sequential(*layers, _conv(_WIDTH, CHANNELS))


def decoder_network() -> nn.Sequential:
    """Latents (B, 32, h, w) to pictures (B, 3, 8h, 8w), nearly in [0, 1]."""
    layers: list[nn.Module] = [_Bend(), _conv(CHANNELS, _WIDTH), nn.ReLU()]
    for level in range(3):
        layers += [_Block(pooled=level == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _conv(_WIDTH, _WIDTH, bias=False)]
    return nn.Sequential(*layers, _Block(), _conv(_WIDTH, 3))


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """Both halves, frozen, in float32 unless their input or an autocast says otherwise.

    Attributes:
        encoder, decoder: see :func:`encoder_network` and :func:`decoder_network`.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential

    def encode(self, pictures: Tensor) -> Tensor:
        """Φ: (B, 3, H, W) in [0, 1], sides in multiples of 8, to (B, 32, H/8, W/8)."""
        latents: Tensor = self.encoder(pictures.contiguous(memory_format=torch.channels_last))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """D: (B, 32, h, w) to (B, 3, 8h, 8w), clamped to [0, 1] where no gradient is asked for."""
        pictures: Tensor = self.decoder(latents.contiguous(memory_format=torch.channels_last))
        return pictures if torch.is_grad_enabled() else pictures.clamp(0, 1)

    def as_encoder(self) -> Encoder:
        """Φ as the library's cloaks take it."""
        return Encoder(
            name="taef2",
            fingerprint=fingerprint_of(self.encoder.state_dict()),
            features=self.encode,
            multiple=FACTOR,
            device=torch.device("cpu"),
        )


def load_autoencoder(path: Path) -> Autoencoder:
    """Read ``encoder.*`` and ``decoder.*`` from a .safetensors file.

    Raises:
        ValueError: the file holds another network.
    """
    weights = load_file(path)
    halves = []
    for name, network in (("encoder", encoder_network()), ("decoder", decoder_network())):
        own = {
            k.removeprefix(f"{name}."): w.float()
            for k, w in weights.items()
            if k.startswith(f"{name}.")
        }
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"Expected taef2's {name} in {path.name}: {error}") from error
        network.eval().requires_grad_(False)
        halves.append(network.to(memory_format=torch.channels_last))
    return Autoencoder(*halves)


def quick() -> torch.autocast:
    """bfloat16 where the processor multiplies it in hardware, which is several times as fast; on
    others, where it would be ten times slower, nothing changes."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())
