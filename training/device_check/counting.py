"""How many bytes some work holds at most, counted without computing any of it."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from comfy_glaze import images, resampling

_READ = torch.ops.aten._local_scalar_dense.default

_CACHES = (
    resampling._taps,
    resampling._blocks,
    resampling.enlarged_and_back,
    images.per_channel,
)
"""What keeps tensors between calls: none may come into the count, or out of it."""


class Counting(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Inside, tensors know their shape and type and hold no values; what they would hold is added
    up.  A single value that is read is 0.5, a valid pixel, or true.

    Real tensors from outside, such as weights, may take part and are not counted.

    Attributes:
        held, peak: bytes that the tensors made inside would hold, now and at most so far.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.held = self.peak = 0
        self._known: set[int] = set()
        self._within = False  # an operation, whose own steps a device takes in one

    def __enter__(self) -> Counting:
        _forget_cached()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _forget_cached()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _READ:
            return True if args[0].dtype is torch.bool else 0.5
        if self._within:
            return super().__torch_dispatch__(func, types, args, kwargs)
        self._within = True
        try:
            result = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self._within = False
        for made in tree_leaves(result):
            if isinstance(made, Tensor):
                self._note(made.untyped_storage())
        self.peak = max(self.peak, self.held)
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self.held += storage.nbytes()
        weakref.finalize(storage, self._forget, id(storage), storage.nbytes())

    def _forget(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.held -= size


def _forget_cached() -> None:
    for cache in _CACHES:
        cache.cache_clear()
