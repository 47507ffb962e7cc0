from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from comfy_glaze.devices import computing_in, fast_dtype

CUDA = torch.device("cuda")


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_emulated_bfloat16_is_not_fast(
    native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A T4 says yes when emulation counts, and has no convolutions in bfloat16."""

    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    assert fast_dtype(CUDA) is expected


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu"])
def test_other_devices_compute_in_float32(device: str) -> None:
    assert fast_dtype(torch.device(device)) is None


def test_float32_builds_no_autocast() -> None:
    """Autocast raises on a device that has none, even where it is switched off."""
    device = torch.device("meta")
    with pytest.raises(RuntimeError):
        torch.autocast(device.type, torch.bfloat16, enabled=False)
    assert isinstance(computing_in(device, None), nullcontext)
    with computing_in(torch.device("cpu"), torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
