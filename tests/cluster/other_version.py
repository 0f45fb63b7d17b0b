"""A preload of a worker that has an earlier version of this program."""

from distributed import Worker


def dask_setup(worker: Worker) -> None:
    worker.state.total_resources.update({"threads": 1, "eggan-0.0.1+0123456789": 1e6})
    worker.state.available_resources.update({"threads": 1, "eggan-0.0.1+0123456789": 1e6})
