"""Several encoders on one device that holds the weights of one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ..devices import free_memory
from .encoders import Encoder

_SHARE = 0.1
"""Of the device's free memory, what weights that are not at work may take; most of the rest goes to
what a backward pass keeps."""


@torch.inference_mode(False)
def on_device(encoders: Sequence[Encoder], device: torch.device) -> list[Encoder]:
    """Encoders that were loaded on the CPU, for a device: all of their weights there, or where its
    memory is short, those of the encoder at work.

    Args:
        encoders: as :func:`comfy_glaze.networks.encoder_files.load_encoder` gives them.
    """
    free = free_memory(device)
    if free is not None and sum(map(_bytes, encoders)) > _SHARE * free:
        return one_at_a_time(encoders, device)
    for encoder in encoders:
        if encoder.net is not None:
            nn.Module.to(encoder.net, device)
    return [replace(encoder, device=device) for encoder in encoders]


def one_at_a_time(encoders: Sequence[Encoder], device: torch.device) -> list[Encoder]:
    """The same encoders, at work on a device in turn.

    An encoder's weights go there when it is asked for features and another was before, and that
    one's copies are dropped.  A backward pass still finds the weights that its features came from:
    they stay until its graph is gone.
    """
    turns = _Turns(device)
    return [
        replace(encoder, features=partial(turns.features, encoder), device=device)
        for encoder in encoders
    ]


class _Turns:
    """Who is at work, and its own tensors while copies on the device stand in for them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.at_work: Encoder | None = None
        self.own: list[Tensor] = []

    def features(self, encoder: Encoder, images: Tensor) -> Tensor:
        if self.at_work is not encoder:
            self._switch(encoder)
        return encoder.features(images)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _switch(self, encoder: Encoder) -> None:
        if self.at_work is not None:
            _put(self.at_work, self.own)
            self.at_work = None
        own = [held[name] for held, name in _places(encoder)]
        _put(encoder, [tensor.detach().to(self.device) for tensor in own])
        self.own, self.at_work = own, encoder


def _put(encoder: Encoder, tensors: Sequence[Tensor]) -> None:
    """Other objects in place of an encoder's weights and buffers, which stay as they are."""
    for (held, name), tensor in zip(list(_places(encoder)), tensors, strict=True):
        if isinstance(held[name], nn.Parameter) and not isinstance(tensor, nn.Parameter):
            tensor = nn.Parameter(tensor, requires_grad=False)
        held[name] = tensor


def _places(encoder: Encoder) -> Iterator[tuple[dict[str, Tensor], str]]:
    """Where each weight and buffer of an encoder is kept."""
    for module in encoder.net.modules() if encoder.net is not None else ():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    yield held, name  # type: ignore[misc]


def _bytes(encoder: Encoder) -> int:
    return sum(held[name].nbytes for held, name in _places(encoder))
