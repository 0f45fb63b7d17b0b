"""Files between this machine and the workers of a cluster, in parts and through the scheduler alone."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.cluster import worker as remote
from eggan.cluster.worker import CHUNK, Stamp, inside, movable, progress
from eggan.files import hash_files, write_atomically

if TYPE_CHECKING:
    from distributed import Client

ALL = ("*",)


class Changed(Exception):
    """A file became another one while it was read."""


@dataclass
class Transport:
    """Sends files to workers by content, and brings folders back."""

    client: "Client"
    _hashes: dict[tuple[Path, Stamp], str] = field(default_factory=dict)

    @cached_property
    def _sender(self) -> str:
        return uuid.uuid4().hex

    def sha256(self, path: Path) -> str:
        """Return a file's hash, read once for as long as the file does not change."""
        known = path, remote.stamp_of(path)
        if known not in self._hashes:
            self._hashes[known] = hash_files([path])
        return self._hashes[known]

    def ask(self, worker: str, function: Any, *values: Any) -> Any:
        """Return what a function of `eggan.cluster.worker` says at one worker; its errors are raised."""
        return self.client.run(function, *values, workers=[worker])[worker]

    def send(self, worker: str, path: Path, sha256: str) -> None:
        """Send a file to a worker, which checks that it has this content."""
        size, start = path.stat().st_size, 0
        with path.open("rb") as stream:
            while True:
                data = stream.read(CHUNK)
                last = start + len(data) >= size
                self.ask(worker, remote.take, sha256, self._sender, start, data, last)
                start += len(data)
                if last:
                    return


@dataclass
class Mirror:
    """The folder of a job here, which follows the one at whatever worker runs it.

    `last` names the file that is written after all others: it says what the others are.
    """

    transport: Transport
    here: Path
    there: str
    state_file: str = ""
    last: str = ""
    _seen: dict[str, tuple[str, Stamp]] = field(default_factory=dict)

    def progress(self) -> int:
        """Return how far the training in the folder here got, as `eggan.cluster.worker.progress`."""
        return progress(self.here, self.state_file)

    def state(self) -> dict[str, Any]:
        """Return what a worker needs to go on from here: sha256 of the folder's files by name, and how far
        they got.
        """
        files = {name: hash_files([self.here / name]) for name in movable(self.here)}
        return {"files": files, "progress": self.progress()}

    def bring(self, worker: str, patterns: Sequence[str] = ALL) -> bool:
        """Bring what changed at a worker; return whether a checkpoint was among it.

        Each file appears whole. All of them: those that are gone there go here too.
        """
        known = {name: stamp for name, (where, stamp) in self._seen.items() if where == worker}
        found, names = self.transport.ask(worker, remote.hand_out, self.there, known, patterns)
        for name, stamp, data in sorted(found, key=lambda item: item[0] == self.last):
            try:
                self._write(worker, name, stamp, data)
            except Changed:
                continue  # the next time brings it
            self._seen[name] = worker, stamp
        if tuple(patterns) == ALL:
            self._drop({name for name, (where, _) in self._seen.items() if where == worker} - set(names))
        return self.state_file in {name for name, _, _ in found}

    def _write(self, worker: str, name: str, stamp: Stamp, data: bytes | None) -> None:
        def write(staged: Path) -> None:
            with staged.open("wb") as stream:
                stream.write(data or b"")
                while data is None and stream.tell() < stamp[0]:
                    values = self.there, name, stamp, stream.tell()
                    part = self.transport.ask(worker, remote.hand_out_part, *values)
                    if not part:
                        raise Changed
                    stream.write(part)

        write_atomically(inside(self.here, name), write)

    def _drop(self, names: set[str]) -> None:
        for name in names:
            inside(self.here, name).unlink(missing_ok=True)
            del self._seen[name]


def by_hash(transport: Transport, files: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of files by the places that they go to."""
    return {place: transport.sha256(path) for place, path in files.items()}
