"""Several encoders where a device holds the weights of one at a time.

Without a device the places that tensors are put in are what can be seen; which of them lie on one
is held by ``tests/test_fake_devices.py``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from comfy_glaze import devices
from comfy_glaze.networks import turns
from comfy_glaze.networks.encoders import Encoder, encoder_from_module
from comfy_glaze.networks.ensemble import combine_encoders

from ..conftest import smooth_picture

CPU = torch.device("cpu")


def small(seed: int) -> Encoder:
    torch.manual_seed(seed)
    model = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2)
    return encoder_from_module(model, f"small {seed}", CPU)


def weights_of(encoder: Encoder) -> list[Tensor]:
    assert encoder.net is not None
    return [*encoder.net.parameters(), *encoder.net.buffers()]


def moved(members: list[Encoder], own: list[list[Tensor]]) -> list[bool]:
    """Whether each has other tensors than these in all places."""
    return [
        not any(mine is now for mine, now in zip(before, weights_of(member), strict=True))
        for before, member in zip(own, members, strict=True)
    ]


def gradient_of(encoder: Encoder) -> Tensor:
    pixels = smooth_picture(32, 32).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(pixels).square().sum(), pixels)
    return gradient


def test_turns_change_no_feature_and_no_gradient() -> None:
    alone = combine_encoders([small(0), small(1)], [1, 1])
    in_turn = combine_encoders(turns.one_at_a_time([small(0), small(1)], CPU), [1, 1])
    assert in_turn.fingerprint == alone.fingerprint
    picture = smooth_picture(32, 32)
    assert torch.equal(in_turn(picture), alone(picture))
    assert torch.equal(gradient_of(in_turn), gradient_of(alone)), "one graph through both"


def test_only_the_one_at_work_has_other_tensors_than_its_own() -> None:
    members = [small(0), small(1)]
    own = [weights_of(member) for member in members]
    first, second = turns.one_at_a_time(members, CPU)

    for encoder, expected in (
        (first, [True, False]),
        (first, [True, False]),
        (second, [False, True]),
    ):
        encoder(smooth_picture(32, 32))
        assert moved(members, own) == expected


def test_a_turn_that_memory_has_no_room_for_leaves_all_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = [small(0), small(1)]
    first, second = turns.one_at_a_time(members, CPU)
    picture = smooth_picture(32, 32)
    wanted = first(picture), second(picture)

    def full(self: Tensor, *_: object) -> Tensor:
        raise torch.OutOfMemoryError("full")

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "to", full)
        with pytest.raises(torch.OutOfMemoryError):
            first(picture)
    assert torch.equal(second(picture), wanted[1])
    assert torch.equal(first(picture), wanted[0])


@pytest.mark.parametrize(("free", "in_turn"), [(10**9, False), (10**5, True), (None, False)])
def test_they_take_turns_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, free: int | None, in_turn: bool
) -> None:
    monkeypatch.setattr(turns, "free_memory", lambda device: free)
    members = [small(0), small(1)]
    own = [weights_of(member) for member in members]
    for encoder in turns.on_device(members, CPU):
        encoder(smooth_picture(32, 32))
    assert any(moved(members, own)) == in_turn


def test_memory_that_is_kept_for_tensors_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 7)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10, 20))
    assert devices.free_memory(torch.device("cuda")) == 13
    assert devices.free_memory(CPU) is None


def test_an_encoder_without_a_network_of_its_own_takes_its_turn() -> None:
    other = replace(small(0), net=None)
    first, second = turns.one_at_a_time([other, small(1)], CPU)
    picture = smooth_picture(32, 32)
    assert torch.equal(first(picture), other(picture))
    assert bool(second(picture).isfinite().all())
