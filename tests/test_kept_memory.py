"""Page faults of blocks that are freed and taken again: none where they are kept; the user's word wins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eggan.kept_memory import _mallopt

ROOT = Path(__file__).resolve().parents[1]
TAKES_AND_FREES = """
import resource
import numpy as np
from eggan.kept_memory import keep_freed_memory, memory_as_usual

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(16 << 20)  # 128 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual, kept = faults(), keep_freed_memory()
faults()
first = faults()
with memory_as_usual():
    between = faults()
faults()
print(int(kept), usual, first, between, faults())
"""
MAPPED, NONE = 300, 100  # page faults of nine times 128 MB, even in pages of 2 MB; and what else comes along
pytestmark = pytest.mark.skipif(_mallopt() is None, reason="the C library is not glibc")


def counted(**variables: str) -> list[int]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", TAKES_AND_FREES],
        env=own | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


def test_what_is_freed_and_taken_again_is_mapped_once():
    kept, usual, first, between, again = counted()
    assert kept == 1
    assert min(usual, between) > MAPPED
    assert max(first, again) < NONE


@pytest.mark.parametrize(
    "variables", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=65536"}]
)
def test_settings_of_the_user_win(variables):
    kept, usual, first, *_ = counted(**variables)
    assert kept == 0
    assert min(usual, first) > MAPPED
