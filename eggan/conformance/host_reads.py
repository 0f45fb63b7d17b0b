"""Catching reads of tensors by the host: on a GPU each makes the whole queue of work wait."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

METHODS = frozenset({"item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"})
KERNELS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select")  # their size is read
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_")
OWN_MODULES = "torch."


class HostRead(Exception):
    """A tensor was read by the host; the message says by which call."""


@contextmanager
def no_host_reads() -> Iterator[None]:
    """Raise `HostRead` inside the block where a tensor is read by the host, on whatever device it lies.

    Reads inside torch's own modules do not count: an optimiser's step counter, say, lies on the host.
    """
    with _Calls(), _Kernels():
        yield


class _Calls(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        if name in METHODS and args and isinstance(args[0], Tensor) and not _called_by_torch():
            raise HostRead(f"Tensor.{name}()")
        return function(*args, **(kwargs or {}))


class _Kernels(TorchDispatchMode):
    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = kernel.name().partition(".")[0]
        if (name in KERNELS or _reads_mask(name, args)) and not _called_by_torch():
            raise HostRead(f"{name.removeprefix('aten::')}, by .item(), a condition on a tensor, or a mask")
        return kernel(*args, **(kwargs or {}))


def _reads_mask(name: str, args: Any) -> bool:
    """Return whether a kernel indexes by a mask, whose number of hits the host has to know."""
    if name not in INDEXING:
        return False
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])


def _called_by_torch() -> bool:
    """Return whether the innermost caller outside this module is one of torch's optimisers or layers."""
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module != __name__ and not module.startswith(("torch.utils", "torch._", "torch.overrides")):
            return module.startswith(OWN_MODULES)
        frame = frame.f_back  # type: ignore[assignment]
    return False
