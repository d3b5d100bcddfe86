"""Several processes as one: rows gathered so that the loss is the global one, gradients averaged so that steps agree.

Gradients are summed here after backward, in one flat message a number type, instead of by DistributedDataParallel: a
step may run the text tower several times and differentiate inside, which that wrapper does not officially take.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch import distributed as dist


@runtime_checkable
class Parallel(Protocol):
    """This process among its fellows."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def world(self) -> int:
        """How many there are."""
        ...

    def gather(self, own: Tensor) -> Tensor:
        """Rows of all processes in order of rank; this one's keep their graph, with the gradient times `world`."""
        ...

    def total(self, own: Tensor) -> Tensor:
        """The sum over processes, without a graph."""
        ...

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        ...

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the values that process 0 has."""
        ...

    def wait(self) -> None:
        """Until all are here."""
        ...


class SingleProcess:
    """One process."""

    rank, world = 0, 1

    def gather(self, own: Tensor) -> Tensor:
        """The rows themselves."""
        return own

    def total(self, own: Tensor) -> Tensor:
        """The number itself."""
        return own.detach()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Nothing to do."""

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to do."""

    def wait(self) -> None:
        """Nothing to wait for."""


class Distributed:
    """Processes that torch.distributed has joined, as `accelerate launch` and `torchrun` do."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def gather(self, own: Tensor) -> Tensor:
        """Rows of all, see `Parallel`; every process has as many."""
        rows = [torch.empty_like(own) for _ in range(self.world)]
        dist.all_gather(rows, own.detach().contiguous())
        if own.is_floating_point() and own.requires_grad:
            # Averaging gradients divides what each process adds by `world`; the loss is whole on every one of them.
            rows[self.rank] = own.detach() + self.world * (own - own.detach())
        return torch.cat(rows)

    def total(self, own: Tensor) -> Tensor:
        """The sum over processes."""
        summed = own.detach().clone()
        dist.all_reduce(summed)
        return summed

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Mean over the processes, one message for each number type.

        A gradient that only some have counts as zero at the others; one that nobody has stays away, so that optimizers
        leave its parameter alone as they do in one process.
        """
        by_type: dict[Any, list[nn.Parameter]] = {}
        parameters = list(parameters)
        if not parameters:
            return
        there = torch.tensor([float(one.grad is not None) for one in parameters], device=parameters[0].device)
        for parameter, known in zip(parameters, self.total(there).tolist(), strict=True):
            if not known:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            by_type.setdefault((parameter.grad.dtype, parameter.grad.device), []).append(parameter)
        for group in by_type.values():
            flat = torch.cat([one.grad.flatten() for one in group if one.grad is not None])
            dist.all_reduce(flat)
            flat /= self.world
            for one, piece in zip(group, flat.split([one.numel() for one in group]), strict=True):
                assert one.grad is not None
                one.grad.copy_(piece.view_as(one))

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Values of process 0, sent to all."""
        for tensor in tensors:
            dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Until all are here."""
        dist.barrier()


def parallel() -> Parallel:
    """This process among those that were launched with it."""
    return (
        Distributed()
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        else SingleProcess()
    )
