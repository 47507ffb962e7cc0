"""What a device computes in, which one to take, and memory given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def give_back_memory() -> None:
    """Let glibc return what it keeps of freed blocks: half a gigabyte after an optimisation.

    Other C libraries do so by themselves, or have no such call; there nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def fast_dtype(device: torch.device) -> torch.dtype | None:
    """What Φ computes in where the device is faster with it than with float32; else None."""
    if device.type != "cuda":
        return None
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16


def computing_in(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Autocast to ``dtype`` on a device.  None builds no autocast, which not every device has."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def free_memory(device: torch.device) -> int | None:
    """Bytes that tensors could still take on a device with memory of its own, where that is known;
    None for others."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


SPARE, METRIC_BYTES, TWICE = 1.1, 4e3, 0.5
"""For an estimate of a gradient's memory: what is asked for beside what an encoder keeps, as a
factor; bytes per pixel that a metric keeps, roughly; and the share of it all where residual blocks
are computed twice in place of kept."""


def kept_for_backward(work: Callable[[], Tensor], weights: Iterable[Tensor]) -> tuple[Tensor, int]:
    """What some work gives, and how many bytes are kept for its backward pass, beside weights."""
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = work()
    return result, sum(size for place, size in kept.items() if place not in own)


def choose_device(name: str) -> torch.device:
    """A device by name; ``auto`` is the fastest one of this machine.

    Raises:
        ValueError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a build without CUDA
        raise ValueError(f"Expected a device of this machine, but {name} is none.") from error
    return device
