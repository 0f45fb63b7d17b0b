"""Memory that a training frees and takes again at every step stays with its process (glibc, CPU).

glibc takes a block of more than 32 MB from the system and gives it back at once, so that it is mapped and
zeroed page by page each time: a third of StarGAN's step at 128 px (torch 2.14, batch 2, bf16: 1,409 ms and
247,000 page faults a step, 970 ms and none where it is kept).
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4  # malloc.h
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 << 20}
# What glibc comes to by itself once a large block was freed.
USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20, TOP_PAD: 128 << 10}


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, to its end; return whether it does.

    Where the user has own settings, or the C library is another one, all stays as it is.
    """
    return _set(KEPT)


@contextmanager
def memory_as_usual() -> Iterator[None]:
    """Let what runs meanwhile take and free memory as other processes do; afterwards it is kept."""
    changed = _set(USUAL)
    try:
        yield
    finally:
        if changed:
            _set(KEPT)


def _set(values: Mapping[int, int]) -> bool:
    mallopt = _mallopt()
    if mallopt is None or _are_the_users(os.environ):
        return False
    taken = [mallopt(name, value) == 1 for name, value in values.items()]
    return all(taken)


def _are_the_users(environment: Mapping[str, str]) -> bool:
    own = any(name.startswith("MALLOC_") for name in environment)
    return own or "malloc" in environment.get("GLIBC_TUNABLES", "")


def _mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's function, if this is glibc."""
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # other libraries have a mallopt that knows other names
        return library.mallopt
    return None
