"""The device and number type of a model; a caller's own module is never changed."""

import copy

import torch
from torch import nn

_DEVICES = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "cuda": "cuda",
    "metal": "mps",
    "apple": "mps",
    "mps": "mps",
    "cpu": "cpu",
}
"""What people call devices, in lower case -> what PyTorch does."""
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def placed(module: nn.Module, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module:
    """A live module in evaluation mode on that device and in that type; the same object if it is already.

    In training mode it is a copy that shares the weights, for another device or number type a copy of these too.
    """
    first = next(module.parameters())
    place, kind = first.device if device is None else as_device(device), dtype or first.dtype
    elsewhere = place.type != first.device.type or place.index not in (None, first.device.index)
    if elsewhere or kind != first.dtype:
        return copy.deepcopy(module).to(device=place, dtype=kind).eval()
    if not module.training:
        return module
    # Evaluation mode is a flag of the module: set it on a copy, whose parameters and buffers stay the same tensors.
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared).eval()


def as_device(device: torch.device | str | None) -> torch.device:
    """The device; None takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        ValueError: it cannot be used here.
    """
    if device is None:
        apple = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else apple)
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        known = _DEVICES.get(str(device).lower().partition(":")[0])
        meant = f"write {known!r}" if known else "write 'cpu', 'cuda', 'cuda:1' or 'mps'"
        raise ValueError(
            f"device={str(device)[:60]!r} is no name of PyTorch's; {meant}, or leave it out for the best there is."
        ) from None
    try:
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        cause = str(error).splitlines()[0][:160]
        raise ValueError(
            f"device={str(device)!r} cannot be used here ({cause}); leave it out or pass 'cpu'."
        ) from None
    return place


def as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """The number type, given as torch's or by name; None stays None.

    Raises:
        ValueError: it is not a floating-point type.
    """
    if dtype is None or isinstance(dtype, torch.dtype):
        kind = dtype
    else:
        kind = _DTYPES.get(dtype) or getattr(torch, dtype.removeprefix("torch."), None)
    if dtype is not None and not (isinstance(kind, torch.dtype) and kind.is_floating_point):
        raise ValueError(f"dtype={dtype!r} is not a floating-point type; pass float32, float16 or bfloat16.")
    return kind
