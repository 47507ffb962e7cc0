"""Robust training moves what it should, on the embedded autoencoder."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch
from torch import Tensor

from comfy_glaze.evaluation.robust_training import (
    RobustTraining,
    encode,
    measure_resistance,
    save_robust,
    train_robustly,
)
from comfy_glaze.images import to_grid
from comfy_glaze.networks.encoder_files import embedded_autoencoder

from ..conftest import smooth_picture


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Tensor, Tensor]]:
    """Pictures, and what one sign step of four levels away from their features makes of them."""
    model = embedded_autoencoder().float()
    found = []
    for seed in range(3):
        plain = smooth_picture(64, 64, seed=seed)
        moved = plain.clone().requires_grad_()
        target = encode(model, smooth_picture(64, 64, seed=seed + 50)).detach()
        loss = (encode(model, moved) - target).square().mean()
        (gradient,) = torch.autograd.grad(loss, moved)
        found.append((plain, to_grid((plain - 4 / 255 * gradient.sign()).clamp(0, 1))))
    return found


@pytest.mark.parametrize("variant", ["retrain", "keep"])
def test_cloaks_move_a_robust_encoder_less(
    variant: str, pairs: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    model = embedded_autoencoder().float()
    settings = RobustTraining(variant, steps=30, batch=2, crop=48, learning_rate=1e-3)
    losses: list[float] = []
    robust = train_robustly(model, pairs[:2], settings, lambda _, loss: losses.append(loss))
    before = measure_resistance(model, model, pairs[2:])
    after = measure_resistance(robust, model, pairs[2:])
    assert after.displacement < 0.9 * before.displacement
    assert before.drift == 0
    assert after.drift > 0
    assert after.psnr > 10
    assert sum(losses[-5:]) < sum(losses[:5])
    untouched = embedded_autoencoder().float().state_dict()
    assert all(torch.equal(w, untouched[k]) for k, w in model.state_dict().items())
    decoder_moved = any(
        not torch.equal(w, untouched[k])
        for k, w in robust.state_dict().items()
        if k.startswith("decoder.")
    )
    assert decoder_moved == (variant == "retrain")
    save_robust(robust, settings, tmp_path / "vae")
    loaded = diffusers.AutoencoderTiny.from_pretrained(tmp_path / "vae")
    assert torch.allclose(encode(loaded, pairs[0][0]), encode(robust, pairs[0][0]), atol=1e-5)


def test_refusals(pairs: list[tuple[Tensor, Tensor]]) -> None:
    with pytest.raises(ValueError, match="retrain, keep, but got adversarial"):
        RobustTraining("adversarial")
    with pytest.raises(ValueError, match="pairs of equal size"):
        train_robustly(embedded_autoencoder(), [], RobustTraining())
