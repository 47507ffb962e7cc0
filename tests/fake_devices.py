"""A pretended device: tensors that know their device, shape and type, and hold no values.

Under :class:`PretendedDevice` any operation on tensors of two devices raises, as it does on a
machine that has them.  Torch's fake tensors do this; what is added here are values for code that
must read some, and a backward pass in Python, since torch's own needs the device's driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._pytree import tree_leaves

from comfy_glaze import images, resampling
from comfy_glaze.countermeasures import diffusion, networks

aten = torch.ops.aten

CUDA = torch.device("cuda")

CACHES = (
    resampling._taps,
    resampling._blocks,
    resampling.enlarged_and_back,
    images.per_channel,
    networks._ffdnet,
    networks._doubler,
    networks._impress_metric,
    diffusion._img2img,
    diffusion._upscaler,
)
"""What keeps tensors between calls: none may come out of the pretence, or into it."""


def _value(kind: torch.dtype) -> bool | float | int:
    """What every element of a tensor without values reads as; 0.5 is a valid pixel."""
    if kind is torch.bool:
        return True
    return 0.5 if kind.is_floating_point else 0


class PretendedDevice(FakeTensorMode):
    """Fake tensors that can be read: all their elements are :func:`_value`, and equal."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)  # weights that a library loads by itself
        self.seen: set[str] = set()  # names of all operations
        self.arrays = 0  # how many tensors were read as arrays
        self.waits: list[str] = []  # operations for which the CPU waits until the device is done
        self.doubles: set[str] = set()  # operations on a device that has float64

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.name())
        if _waits(func, args, kwargs or {}):
            self.waits.append(func.name())
        if any(
            one.dtype is torch.float64 and one.device.type != "cpu"
            for one in tree_leaves((args, kwargs))
            if isinstance(one, Tensor)
        ):
            self.doubles.add(func.name())
        if func is aten._local_scalar_dense.default and args[0].constant is None:
            return _value(args[0].dtype)
        if func is aten.equal.default:
            _one_device(args)
            return True
        if func is aten.index.Tensor:
            args = (args[0], [_as_numbers(args[0], index) for index in args[1]])
        return super().__torch_dispatch__(func, types, args, kwargs)


_READING = (
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
)
"""What looks at values."""


def _waits(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether an operation reads from a device or copies between devices."""
    first = args[0] if args else None
    if not isinstance(first, Tensor):
        return False
    if func in _READING:
        return first.device.type != "cpu"
    into = kwargs.get("device") if func is aten._to_copy.default else None
    if func is aten.copy_.default:
        into = args[1].device
    return into is not None and torch.device(into).type != first.device.type


def _one_device(tensors: Sequence[Tensor]) -> None:
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        raise RuntimeError(f"Expected tensors of one device, but got {devices}.")


def _as_numbers(indexed: Tensor, index: Tensor | None) -> Tensor | None:
    """A mask as the numbers of all its elements; how many are true is not known."""
    if index is None or index.dtype is not torch.bool:
        return index
    assert index.ndim == 1
    if index.device.type != "cpu":
        _one_device((indexed, index))
    return torch.arange(len(index), device=index.device)


def _numpy(tensor: FakeTensor) -> np.ndarray[Any, Any]:
    if tensor.device.type != "cpu":
        raise TypeError(f"Only a tensor on the CPU becomes an array, but got {tensor.device}.")
    if isinstance(tensor.fake_mode, PretendedDevice):
        tensor.fake_mode.arrays += 1
    kind = np.dtype(str(tensor.dtype).removeprefix("torch."))
    return np.full(tuple(tensor.shape), _value(tensor.dtype), kind)


def _gradients(output: Tensor, gradient: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Every leaf below an output with its gradient, node by node of the graph."""
    assert output.grad_fn is not None
    order: list[Any] = []
    known: set[Any] = set()

    def visit(node: Any) -> None:
        if node in known:
            return
        known.add(node)
        for below, _ in node.next_functions:
            if below is not None:
                visit(below)
        order.append(node)

    visit(output.grad_fn)
    first = torch.ones_like(output) if gradient is None else gradient
    arrived: dict[Any, dict[int, Tensor]] = {output.grad_fn: {output.output_nr: first}}
    for node in reversed(order):
        came = arrived.pop(node, {})
        if hasattr(node, "variable"):
            if came:
                yield node.variable, came[0]
            continue
        if not came:
            continue
        given = [came.get(number) for number in range(len(node._input_metadata))]
        with torch.no_grad():  # as torch does; otherwise some nodes take other ways
            sent = node.apply(*given) if hasattr(node, "apply") else node(*given)
        sent = sent if isinstance(sent, tuple) else (sent,)
        for (below, number), part in zip(node.next_functions, sent, strict=False):
            if below is None or part is None:
                continue
            into = arrived.setdefault(below, {})
            into[number] = into[number] + part if number in into else part


def _grad(
    outputs: Tensor, inputs: Tensor, grad_outputs: Tensor | None = None, **_: Any
) -> tuple[Tensor]:
    (found,) = [part for leaf, part in _gradients(outputs, grad_outputs) if leaf is inputs]
    _one_device((found, inputs))
    return (found,)


def _backward(output: Tensor, gradient: Tensor | None = None, **_: Any) -> None:
    for leaf, part in _gradients(output, gradient):
        _one_device((leaf, part))
        leaf.grad = part if leaf.grad is None else leaf.grad + part


def _outside(load: Callable[..., Any]) -> Callable[..., Any]:
    """A reader of weights, whose tensors live in a file's memory: it works outside the pretence."""

    def loaded(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return load(*args, **kwargs)

    return loaded


def _moved(module: nn.Module, move: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """What ``to`` does to a module; torch's own cannot swap a weight for a fake one."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(move(weight.detach()), weight.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else move(buffer)
    return module


@contextmanager
def pretended_device() -> Iterator[PretendedDevice]:
    """Any device may be named inside, and nothing is computed on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeTensor, "numpy", _numpy, raising=False)
        patch.setattr(FakeTensor, "__array__", lambda own, *_, **__: _numpy(own), raising=False)
        patch.setattr("safetensors.torch.load_file", _outside(safetensors.torch.load_file))
        patch.setattr("torch.load", _outside(torch.load))
        patch.setattr(nn.Module, "_apply", _moved)
        patch.setattr("torch.autograd.grad", _grad)
        patch.setattr(torch.Tensor, "backward", _backward)
        patch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: True)
        patch.setattr("torch.cuda.reset_peak_memory_stats", lambda device=None: None)
        patch.setattr("torch.cuda.max_memory_allocated", lambda device=None: 0)
        patch.setattr("torch.cuda.synchronize", lambda device=None: None)
        patch.setattr("torch.cuda.mem_get_info", lambda device=None: (2**33, 2**33))
        patch.setattr("torch.cuda.get_device_name", lambda device=None: "pretended")
        for cache in CACHES:
            cache.cache_clear()
        try:
            with PretendedDevice() as device:
                yield device
        finally:
            for cache in CACHES:
                cache.cache_clear()


def pictures(height: int = 64, width: int = 64, batch: int = 1) -> Tensor:
    """Some pictures, on the CPU."""
    return torch.rand(batch, 3, height, width)
