"""A short name for a set of weights, to tell results of different weights apart."""

import hashlib

import torch
from torch import Tensor, nn

_WHOLE_BYTES = 200 * 2**20
_SAMPLES = 16_384


def fingerprint(module: nn.Module) -> str:
    """Twelve hexadecimal digits of the SHA-256 over names, shapes and values of the state dict, sorted by name.

    Floating-point values count as float32, so the same numbers give the same fingerprint on any device and in any
    number type that holds them exactly. Above 200 MB of float32 each tensor counts by 16,384 evenly spaced values, so
    that a large model costs a fraction of a second; a change elsewhere is then not seen. The activation is not a
    weight and does not count.
    """
    state = sorted(module.state_dict().items())
    whole = 4 * sum(tensor.numel() for _, tensor in state) <= _WHOLE_BYTES
    digest = hashlib.sha256()
    for name, tensor in state:
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(_bytes(tensor.detach() if whole else _sample(tensor.detach())))
    return digest.hexdigest()[:12]


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.flatten()
    return flat[:: max(1, flat.numel() // _SAMPLES)]


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.float() if tensor.is_floating_point() else tensor
    return plain.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
