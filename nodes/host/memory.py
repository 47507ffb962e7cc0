"""Memory: what the host loads for a cloak, what it makes room for, and running out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from itertools import chain
from typing import Any, TypeVar

import comfy.model_management as mm
import comfy.model_patcher
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...comfy_glaze.networks.encoders import EncoderError

T = TypeVar("T")

_FLOAT32 = torch.float32

_RECOMPUTE: ContextVar[bool] = ContextVar("recompute", default=False)

_STAYING: ContextVar[tuple[Any, ...]] = ContextVar("staying", default=())
"""What the host must not send away for those that come in."""


def recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A block's forward that, inside :func:`at_work`, may be computed twice instead of kept.

    This halves what a backward pass through a KL encoder keeps, for a fifth more time, and changes
    no bit of the gradient.  A block that is given a list to write into (what video kinds remember
    of earlier frames) is computed once.
    """

    def forward_or_twice(*inputs: Any, **options: Any) -> Any:
        written = any(isinstance(one, (list, dict)) for one in (*inputs, *options.values()))
        if _RECOMPUTE.get() and torch.is_grad_enabled() and not written:
            return checkpoint(
                forward, *inputs, use_reentrant=False, preserve_rng_state=False, **options
            )
        return forward(*inputs, **options)

    return forward_or_twice


def patcher_of(net: nn.Module, device: torch.device) -> Any:
    """What the host loads, offloads and counts a network of ours by.

    Always the plain kind: the newest hosts' dynamic kind pages weights out between operations,
    where autograd would still need them.
    """
    return comfy.model_patcher.ModelPatcher(
        net, load_device=device, offload_device=mm.vae_offload_device()
    )


@contextmanager
def at_work(
    patchers: Sequence[Any],
    device: torch.device,
    activations: float,
    recompute: bool,
    in_turn: Sequence[Any] = (),
) -> Iterator[None]:
    """Networks of ours on the device, with room for their activations; given back afterwards.

    Weights that are kept in half precision are float32 for as long as they work.

    Args:
        activations: bytes that the host keeps free beside the weights.
        recompute: whether blocks are computed twice, see :func:`recomputed`.
        in_turn: networks that :func:`come_in` brings to the device.
    """
    recomputing, staying = _RECOMPUTE.set(recompute), _STAYING.set(tuple(patchers))
    everybody = [*patchers, *in_turn]
    formats = [_as_float32(patcher) for patcher in everybody]
    on_device = getattr(mm, "cuda_device_context", lambda device: nullcontext())
    try:
        _load(patchers, device, activations)
        with on_device(device):
            yield
    finally:
        _RECOMPUTE.reset(recomputing)
        _STAYING.reset(staying)
        with torch.inference_mode():
            _unload(everybody, device)
        for patcher, format_of in zip(everybody, formats, strict=True):
            _restore(patcher, format_of)


def come_in(patcher: Any, device: torch.device, activations: float) -> None:
    """One network more on the device, inside :func:`at_work`; nothing where it is there already.

    Where memory is short, the host sends others that came in away for it.  So of several encoders
    that take turns it holds as many as there is room for, and one at the least.

    Args:
        activations: as for :func:`at_work`.
    """
    there = any(loaded.model is patcher for loaded in mm.current_loaded_models)
    weights = chain(patcher.model.parameters(), patcher.model.buffers())
    if not there or any(_must_go(weight, device) for weight in weights):
        _load([patcher, *_STAYING.get()], device, activations)


def _load(patchers: Sequence[Any], device: torch.device, activations: float) -> None:
    """Loading happens in inference mode, because the host may move modules of its own to make room,
    and those break when they are moved outside it.  Ours come out as inference tensors wherever
    they moved, so they are made normal ones again.
    """
    with torch.inference_mode():
        if patchers:
            mm.load_models_gpu(list(patchers), memory_required=activations, force_full_load=True)
    for patcher in patchers:
        _make_normal(patcher.model, device)


Formats = dict[tuple[nn.Module, str], torch.dtype]


@torch.inference_mode(False)
@torch.no_grad()
def _as_float32(patcher: Any) -> Formats:
    """Weights in other floating formats become float32; gives what they were."""
    formats: Formats = {}
    for module in patcher.model.modules():
        for held in _held(module):
            for name, weight in held.items():
                if weight is not None and weight.is_floating_point() and weight.dtype != _FLOAT32:
                    formats[module, name] = weight.dtype
                    held[name] = _converted(weight, _FLOAT32)
    if formats:
        patcher.size = 0  # so that the host counts it anew
    return formats


@torch.inference_mode(False)
@torch.no_grad()
def _restore(patcher: Any, formats: Formats) -> None:
    """Back to what they were: no value is lost, since each came from there."""
    for (module, name), dtype in formats.items():
        held = next(one for one in _held(module) if name in one)
        held[name] = _converted(held[name], dtype)
    if formats:
        patcher.size = 0


def _held(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """A module's own parameters and buffers, by name."""
    return module._parameters, module._buffers


def _converted(weight: Tensor, dtype: torch.dtype) -> Tensor:
    values = weight.detach().to(dtype)
    if isinstance(weight, nn.Parameter):
        return nn.Parameter(values, requires_grad=False)
    return values


@torch.inference_mode(False)
@torch.no_grad()
def _make_normal(net: nn.Module, device: torch.device) -> None:
    """Replace what cannot take part in a backward pass, or was left elsewhere, by copies."""
    for module in net.modules():
        for name, weight in module._parameters.items():
            if weight is not None and _must_go(weight, device):
                copy = weight.detach().to(device, copy=True)
                module._parameters[name] = nn.Parameter(copy, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None and _must_go(buffer, device):
                module._buffers[name] = buffer.detach().to(device, copy=True)


def _must_go(value: Tensor, device: torch.device) -> bool:
    return value.is_inference() or value.device != device


def _unload(patchers: Sequence[Any], device: torch.device) -> None:
    others = [loaded for loaded in mm.current_loaded_models if loaded.model not in patchers]
    if len(others) < len(mm.current_loaded_models):
        mm.free_memory(1e30, device, keep_loaded=others)


def should_recompute(device: torch.device, activations: float) -> bool:
    """Whether to save memory from the start: on CPUs, where running out of it ends the host, and
    where the free memory is not half as much again as will be needed."""
    return device.type == "cpu" or 1.5 * activations > mm.get_free_memory(device)


def ensure_room(name: str, device: torch.device, needed: float, purpose: str) -> None:
    """Nothing, where memory suffices.

    Args:
        name: whose encoder it is, for the sentence.
        needed: bytes at the least.
        purpose: what for, for the sentence.

    Raises:
        EncoderError: the device has less: on CPUs less that is free, since running out ends the
            host; elsewhere less in all, since the host makes room.
    """
    has = mm.get_free_memory(device) if device.type == "cpu" else mm.get_total_memory(device)
    if needed > has:
        raise EncoderError(
            f"{name} encoder needs {needed / 1e9:.1f} GB of memory {purpose}, but there are only "
            f"{has / 1e9:.1f} GB; cloak a smaller picture, or take the small encoder of that "
            "family (TAESD, TAEHV)."
        )


def with_less_memory(run: Callable[[bool], T], recompute: bool) -> T:
    """Run; after running out of memory once more, with blocks computed twice.

    A second failure is the host's to handle: it unloads all models and says so.
    """
    try:
        return run(recompute)
    except mm.InterruptProcessingException:  # an Exception in older hosts
        raise
    except Exception as error:
        if recompute or not is_out_of_memory(error):
            raise
    mm.soft_empty_cache()  # here, where the failed run's tensors are gone with their traceback
    return run(True)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device had no more memory to give, in the words of this host."""
    is_oom: Callable[[Exception], bool] | None = getattr(mm, "is_oom", None)
    return is_oom(error) if is_oom else isinstance(error, mm.OOM_EXCEPTION)
