"""What every entry point sets before anything heavy is imported: threads, caches, streams.

Variables that the user has set are left alone. All of them are read once, when a library is imported, and
processes that are started here inherit them.
"""

import atexit
import gc
import io
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from eggan.machine import allowed_cores

THREADS = "OMP_NUM_THREADS"
WAITING = "OMP_WAIT_POLICY"
REPLACING = ("replace", "backslashreplace", "ignore", "xmlcharrefreplace", "namereplace")
OWN_THREADS = "EGGAN_OWN_THREADS"  # the number of threads that was set here and not by the user


def prepare() -> None:
    """Prepare this process; called first by every entry point, and harmless when called again."""
    prepare_streams()
    os.environ.update(thread_environment(os.environ))
    os.environ["MPLBACKEND"] = "agg"  # figures go to files; a notebook's value can stop matplotlib's import
    prepare_caches()
    # What is left at the end goes with the process: to look through all of it for garbage takes 0.25 s
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def thread_environment(given: Mapping[str, str], processes: int = 1) -> dict[str, str]:
    """Return variables that give each of `processes` its share of the cores, and a single one all but one.

    The user's own settings, in `given`, win. Threads that wait must not spin: beside any other busy process
    that costs 5 to 30 times the time. Even so a step on all cores waits for the thread that shares its core:
    on two cores two threads took a step in 0.30 s, 0.91 s beside one busy process, and one thread in 0.37 s,
    busy or not.
    """
    chosen: dict[str, str] = {}
    if THREADS not in given or given.get(OWN_THREADS) == given[THREADS]:
        cores = allowed_cores()
        share = str(max(1, min(cores // max(1, processes), cores - 1)))
        chosen |= {THREADS: share, OWN_THREADS: share}
    if WAITING not in given:
        chosen[WAITING] = "PASSIVE"
    return chosen


def set_threads(processes: int) -> None:
    """Give this process the share of one of `processes`, torch's threads included."""
    import torch

    os.environ.update(thread_environment(os.environ, processes))
    if OWN_THREADS in os.environ:
        torch.set_num_threads(int(os.environ[THREADS]))


def prepare_caches() -> None:
    """Let numba and matplotlib keep their caches where they can be written, whatever the installation is.

    numba keeps compiled code beside the package or below HOME, matplotlib its list of fonts below HOME. Where
    that cannot be written, a folder of this user among the temporary files takes its place, with one note.
    """
    home = _can_write(_home() / ".cache")
    fits = {
        "NUMBA_CACHE_DIR": home or _can_write(Path(__file__).parent / "__pycache__"),
        "MPLCONFIGDIR": home,
    }
    missing = [name for name, fine in fits.items() if not fine and name not in os.environ]
    if not missing:
        return
    place = _temporary_cache()
    os.environ.update({name: str(place / name.partition("_")[0].lower()) for name in missing})
    print(f"note: HOME cannot be written; caches go to {place}", file=sys.stderr)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry in the password file
        return Path(os.devnull)


def _can_write(folder: Path) -> bool:
    """Return whether `folder` can be written, or made where it does not exist."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _temporary_cache() -> Path:
    """Return a folder of this user alone: compiled code that somebody else could change is not run."""
    place = Path(tempfile.gettempdir()) / f"eggan-cache-{os.getuid()}"
    with suppress(OSError):
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return place
    return Path(tempfile.mkdtemp(prefix="eggan-cache-"))


def prepare_streams() -> None:
    """Make the standard streams bear what shells do to them.

    A closed one (`2>&-`) becomes the null device, before a file that is opened gets its number. Characters
    that an encoding lacks are replaced. A reader that goes away (`| head`) costs its copy of the output and
    nothing else: the work goes on.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_null(number, name)
        elif name != "stdin" and getattr(sys, name) is getattr(sys, f"__{name}__"):
            setattr(sys, name, _patient(getattr(sys, name)))


def _open_null(number: int, name: str) -> None:
    mode, flags = ("r", os.O_RDONLY) if name == "stdin" else ("w", os.O_WRONLY)
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False))


def _patient(stream: TextIO) -> TextIO:
    """Return a stream over the same file that replaces what it cannot encode and outlives its reader."""
    try:
        stream.flush()
        raw = _Patient(stream.fileno(), "wb", closefd=False)
    except (OSError, ValueError):  # no file behind it, as in some notebooks
        return stream
    errors = stream.errors if stream.errors in REPLACING else "replace"
    through = bool(getattr(stream, "write_through", False))  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        raw if through else io.BufferedWriter(raw),
        stream.encoding,
        errors,
        line_buffering=bool(getattr(stream, "line_buffering", False)),
        write_through=through,
    )


class _Patient(io.FileIO):
    """A file whose reader may go away."""

    def write(self, data: Any) -> int:
        """Write; to nobody where the reader has gone."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(memoryview(data).cast("B"))
