"""Which cluster to use: a scheduler's address, its file, or workers inside this command's own process."""

import argparse
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eggan.errors import UserError, one_line
from eggan.progress import working

if TYPE_CHECKING:
    from distributed import Client, Security

LOCAL = "local:"
PRELOAD = "eggan.cluster.worker"
ANSWER_SECONDS = 30.0  # for a scheduler to answer, or to come back
FILE_SECONDS = 60.0  # for its file to appear, where both were started at once
# Dask keeps its last messages for its developers: 3 KiB of memory a job, up to a thousand.
CLIENT = {"distributed.admin.low-level-log-length": 10}
# Of a cluster inside one process: no pages, no worker that is given up after the machine slept, and no clocks
# that tick for distant machines (5 % of a core with four workers; 0.4 % without them).
OWN_CLUSTER: dict[str, Any] = {
    **{"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []},
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "60s",
}
NO_CLUSTER: dict[str, None] = dict.fromkeys(("cluster", "tls_ca", "tls_cert", "tls_key"))
HOST_AND_PORT = re.compile(r"[\w.-]+:\d+")


@dataclass(frozen=True)
class ClusterChoice:
    """What the user asked for; the TLS files are those of `dask scheduler`, or none of them."""

    place: str
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        if any(files) != all(files):
            raise UserError("TLS needs all three: --tls-ca, --tls-cert and --tls-key")
        for path in files:
            if path is not None and not path.is_file():
                raise UserError(f"there is no file {path}")
        if self.is_local and (not self._number.isdigit() or int(self._number) < 1):
            raise UserError(f"--cluster {self.place!r}: give a number of workers, as in {LOCAL}2")

    @classmethod
    def of(cls, arguments: argparse.Namespace, at_once: int = 1) -> "ClusterChoice | None":
        """Read the arguments of `add_cluster_arguments`.

        Without `--cluster` it is this machine with `at_once` workers, or None for one: no cluster is needed.
        """
        tls = arguments.tls_ca, arguments.tls_cert, arguments.tls_key
        if arguments.cluster is None and any(tls):
            raise UserError("--tls-ca, --tls-cert and --tls-key go with --cluster")
        if arguments.cluster is None and at_once == 1:
            return None
        if find_spec("distributed") is None:
            raise UserError("several processes and --cluster need dask.distributed: pip install distributed")
        return cls(arguments.cluster or f"{LOCAL}{at_once}", *tls)

    @property
    def is_local(self) -> bool:
        """Whether the workers are this command's own."""
        return self.place.startswith(LOCAL)

    @property
    def workers(self) -> int:
        """The number of workers of a local choice."""
        return int(self._number)

    @property
    def _number(self) -> str:
        return self.place.removeprefix(LOCAL)

    @property
    def is_address(self) -> bool:
        """Whether it names a scheduler's address, and not a file."""
        return "://" in self.place or bool(HOST_AND_PORT.fullmatch(self.place))

    def security(self) -> "Security | None":
        """Return Dask's security settings, None without TLS."""
        from distributed import Security

        if self.tls_ca is None:
            return None
        files = {"tls_ca_file": self.tls_ca, "tls_client_cert": self.tls_cert, "tls_client_key": self.tls_key}
        return Security(require_encryption=True, **{name: str(path) for name, path in files.items()})


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `ClusterChoice.of` reads."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS|FILE|local:N",
        help="run on the workers of a Dask scheduler (its address or its --scheduler-file), or N at a time "
        "on this machine; see docs/cluster.md",
    )
    for name, what in (("ca", "certificate authority"), ("cert", "certificate"), ("key", "private key")):
        parser.add_argument(f"--tls-{name}", type=Path, metavar="FILE", help=f"{what} (PEM) for --cluster")


@contextmanager
def connected(choice: ClusterChoice) -> Iterator["Client"]:
    """Lend a client of the cluster; one that does not answer is a `UserError`."""
    import dask
    from distributed.versions import VersionMismatchWarning

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors come back as exceptions
    warnings.filterwarnings("ignore", category=VersionMismatchWarning)
    with dask.config.set(CLIENT):
        if choice.is_local:
            with _own_cluster(choice.workers) as cluster, _client(address=cluster) as client:
                yield client
        else:
            with _distant(choice) as client:
                yield client


def _distant(choice: ClusterChoice) -> "Client":
    if choice.is_address:
        address = choice.place if "://" in choice.place else f"tcp://{choice.place}"
    else:
        address = _address_in(Path(choice.place))
    _warn_of_open_transport(address)
    with working(f"waiting for the scheduler at {address}"):
        return _client(address=address, security=choice.security())


def _client(**options: Any) -> "Client":
    from distributed import Client

    try:
        return Client(set_as_default=False, timeout=ANSWER_SECONDS, name="eggan", **options)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        place = options["address"]
        raise UserError(
            f"no scheduler answers at {place}: start one with `dask scheduler` there ({one_line(error)})"
        ) from None


@contextmanager
def _own_cluster(workers: int) -> Iterator[Any]:
    """Lend a scheduler and workers that are threads of this process: they only start processes, and wait.

    Nobody reaches them from outside, and nothing of them outlives this process.
    """
    import dask
    from distributed import Scheduler, SpecCluster, Worker

    # Each has a server of pages, even with none to show; this one is for this machine alone.
    usual = {"protocol": "inproc://", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    own = {**usual, "nthreads": 1, "preload": PRELOAD, "memory_limit": 0}
    with dask.config.set(OWN_CLUSTER), warnings.catch_warnings(), working("starting workers"):
        warnings.filterwarnings("ignore", "Couldn't detect a suitable IP", RuntimeWarning)  # offline
        cluster = SpecCluster(
            workers={number: {"cls": Worker, "options": own} for number in range(workers)},
            scheduler={"cls": Scheduler, "options": usual},
            silence_logs=logging.CRITICAL,
        )
    with cluster:
        yield cluster


def _address_in(path: Path) -> str:
    """Return the address in a scheduler's file, which may be about to be written."""
    from eggan.files import read_json

    deadline = time.monotonic() + FILE_SECONDS
    with working(f"waiting for {path}"):
        while True:
            try:
                return str(read_json(path)["address"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                if time.monotonic() > deadline or (path.exists() and not isinstance(error, ValueError)):
                    raise UserError(
                        f"{path} is neither a scheduler's file nor an address: write it with "
                        "`dask scheduler --scheduler-file`, or pass HOST:PORT"
                    ) from None
            time.sleep(0.5)


def _warn_of_open_transport(address: str) -> None:
    """Warn where a network lies between this machine and a scheduler without TLS."""
    parts = urlsplit(address)
    if parts.scheme == "tls" or _is_loopback(parts.hostname or ""):
        return
    print(
        f"warning: {address} is not encrypted, and Dask trusts its network: whoever reaches the scheduler or "
        "a worker runs programs as you. Use it in a private network, through SSH, or with TLS "
        "(docs/cluster.md)",
        file=sys.stderr,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
