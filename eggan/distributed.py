"""One training on several processes, one device each, as `torchrun` starts them.

Each process takes an equal share of every batch; before every step of an optimiser the gradients are averaged
over the processes, so that a step is the one that a single process takes with the whole batch. (torch's own
`DistributedDataParallel` has modes that leave gradients apart, without a word, with a gradient penalty.)
The first process leads: it alone tracks, saves and prints.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from eggan.errors import UserError

PATIENCE = timedelta(hours=4)  # how long a process waits for another: pre-training takes its time
_control: Any = None  # of the CPU: what it carries makes no device wait
_alone = False  # whether this process works by itself for now


@dataclass(frozen=True)
class Processes:
    """The processes of this training; a training of one process is the usual case."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process tracks, saves and prints."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return this process's rows of a batch; a size that cannot be shared equally is a `UserError`."""
        if batch_size % self.count:
            raise UserError(
                f"batch_size is {batch_size}, which {self.count} processes cannot share equally: set "
                f"training.batch_size to a multiple of {self.count}"
            )
        size = batch_size // self.count
        return slice(self.rank * size, (self.rank + 1) * size)


ONE = Processes()


def processes() -> Processes:
    """Return this training's processes."""
    if _alone or not (dist.is_available() and dist.is_initialized()):
        return ONE
    return Processes(dist.get_rank(), dist.get_world_size())


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that `torchrun` started, if it did; gives this process's device.

    `device` is the user's choice, resolved: of "cuda" each process takes the GPU of its own number.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        device = _own_gpu(int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    global _control
    _control = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        _control = None
        dist.destroy_process_group()


def _own_gpu(number: int) -> str:
    here = torch.cuda.device_count()
    if number >= here:
        raise UserError(f"more processes than GPUs: start torchrun with --nproc-per-node {here}")
    return f"cuda:{number}"


@contextmanager
def leader_first() -> Iterator[None]:
    """Let the leader do something by itself, then the others, who find it in a cache."""
    global _alone
    leads = processes().leads
    if not leads:
        wait()
    _alone = True
    try:
        yield
    finally:
        _alone = False
    if leads:
        wait()


def wait() -> None:
    """Wait until all processes are here."""
    if processes().count > 1:
        dist.barrier(_control)


def any_process(flag: bool) -> bool:
    """Return whether `flag` holds in any process; all of them ask at the same step."""
    if processes().count == 1:
        return flag
    flags = torch.tensor([int(flag)])
    dist.all_reduce(flags, dist.ReduceOp.MAX, group=_control)
    return bool(flags)


def copy_from_leader(tensors: Iterator[Tensor]) -> None:
    """Overwrite tensors, the same ones in every process, with the leader's."""
    if processes().count > 1:
        for tensor in tensors:
            whole = tensor.detach().contiguous()
            dist.broadcast(whole, 0)
            tensor.detach().copy_(whole)


def mean_of_processes(values: Tensor) -> Tensor:
    """Return the mean over the processes of a tensor that each has; no gradient."""
    count = processes().count
    if count == 1:
        return values
    total = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / count


def spread_of_batch(values: Tensor) -> Tensor:
    """Return the standard deviation (D) over the whole batch of which (B, D) is this process's share."""
    if processes().count == 1:
        return values.detach().std(0, correction=0)
    mean = mean_of_processes(values.mean(0))
    return mean_of_processes((values.detach() - mean).square().mean(0)).sqrt()


class _Sum(torch.autograd.Function):
    """The sum over the processes of a tensor that each has, with its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class BatchNorm2d(nn.BatchNorm2d):
    """Normalises (B, C, H, W) by the statistics of the whole batch, of which B are this process's share.

    torch's own `SyncBatchNorm` does not run on a CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised features; in one process, or when not training, as torch's."""
        count = processes().count
        if count == 1 or not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        x, axes = input.to(self.running_mean.dtype), (0, 2, 3)
        mean = _Sum.apply(x.mean(axes)) / count
        variance = _Sum.apply((x - mean[:, None, None]).square().mean(axes)) / count
        with torch.no_grad():
            size = count * x[:, 0].numel()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * size / (size - 1), self.momentum)
            self.num_batches_tracked += 1
        gain = torch.rsqrt(variance + self.eps) * self.weight
        return ((x - mean[:, None, None]) * gain[:, None, None] + self.bias[:, None, None]).to(input.dtype)


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replace the gradients of an optimiser's parameters by their means over the processes."""
    if processes().count == 1:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    whole = mean_of_processes(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = whole.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))
