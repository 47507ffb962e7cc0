"""Loss terms that keep the embedded encoder like a real one.

They say how far a cloak moves its features, and what of that survives everyday changes.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from measure_autoencoder import after_halving, after_jpeg
from torch import Tensor

LOST = 0.2
"""Of the features' movement: what real encoders lose, about, when a cloak is published."""


def one_step(
    encode: Callable[[Tensor], Tensor], first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What one sign step of at most 8/255 towards the features of another picture does.

    Returns, for each crop of ``first``, the share of its feature distance to a crop of ``second``
    that is left after the step; the share of the features' movement that is lost when the step's
    pixels are published as a JPEG or at half size; and the latents of all crops. Both
    terms calibrate the encoder to real ones: how far a cloak moves them (shift 0.60 to 0.66), and
    how much of it everyday changes leave. The model card has the values without them.
    """
    before, target = encode(first), encode(second)
    goal = target[: len(first)].detach()
    distance = (before - goal).square().mean(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(distance.sum(), first, retain_graph=True)
    original = first.detach()
    reach = 8 / 255 * torch.empty(len(first), 1, 1, 1, device=first.device).uniform_(0.25, 1)
    moved = (original - reach * gradient.sign()).clamp(0, 1)
    survived = original + published(moved, original)
    after, kept = encode(torch.cat([moved, survived])).chunk(2)
    left = ((after - goal).square().mean(dim=(1, 2, 3)) + 0.01) / (distance + 0.01)
    movement = (after - before).square().mean(dim=(1, 2, 3))
    lost = (after - kept).square().mean(dim=(1, 2, 3)) / (movement + 1e-4)
    return left, lost, torch.cat([before, target])


def published(moved: Tensor, original: Tensor) -> Tensor:
    """What is left of ``moved - original`` when both are published: JPEG, or half size and back."""
    left = []
    for pair in torch.stack([moved, original], dim=1).cpu():
        halved, quality = random.random() < 0.4, random.randint(40, 95)
        after, before = (
            after_halving(crop[None]) if halved else after_jpeg(crop[None], quality)
            for crop in pair
        )
        left.append(after - before)
    return torch.cat(left).to(moved.device)


@torch.no_grad()
def smooth_colour_(kernels: Tensor) -> None:
    """Replace 5 x 5 kernels on RGB by the nearest ones that see colour only after a slight blur.

    The brightness part stays; of Cb and Cr, each kernel becomes a 3 x 3 one behind the blur
    (1, 2, 1) / 4 in both directions.

    Args:
        kernels: (C, 3, 5, 5), changed in place.
    """
    to_ycc = torch.tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    to_ycc = to_ycc.to(kernels)
    blur = torch.outer(*2 * (torch.tensor([0.25, 0.5, 0.25]),)).to(kernels)
    columns = []
    for row in range(3):
        for column in range(3):
            placed = kernels.new_zeros(5, 5)
            placed[row : row + 3, column : column + 3] = blur
            columns.append(placed.flatten())
    basis = torch.stack(columns, dim=1)
    project = basis @ torch.linalg.pinv(basis)
    ycc = torch.einsum("ochw,ck->okhw", kernels, torch.linalg.inv(to_ycc))
    ycc[:, 1:] = (ycc[:, 1:].flatten(2) @ project).view_as(ycc[:, 1:])
    kernels.copy_(torch.einsum("okhw,kc->ochw", ycc, to_ycc))
