"""A short hash of a set of weights, to tell results of different weights apart."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from clipsight.checkpoints.weight_files import WeightFile
from clipsight.store import code_of, open_store

_DIGITS = 12
_WORTH_KEEPING = 64 * 2**20
"""Bytes of a file from which reading a fingerprint is clearly faster than taking it."""


def fingerprint(module: nn.Module) -> str:
    """Twelve hexadecimal digits of the SHA-256 over names, shapes and values of the state dict, sorted by name.

    Every value counts, floating-point ones as float32: the same numbers give the same fingerprint on any device and in
    any number type that holds them exactly. The activation is not a weight and does not count.
    """
    return state_fingerprint(module.state_dict())


def state_fingerprint(state: Mapping[str, Tensor]) -> str:
    """`fingerprint` of a model that has these weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach()
        digest.update(as_bytes(plain.float() if plain.is_floating_point() else plain))
    return digest.hexdigest()[:_DIGITS]


def remembered_fingerprint(module: nn.Module, file: WeightFile, model_cfg: Mapping[str, Any]) -> str:
    """`fingerprint` of a module that was just filled from a file; for a large file it is taken once.

    The file counts as the same while its inode, size and both of its times stay the same.
    """
    store = open_store() if file.size >= _WORTH_KEEPING else None
    if store is None:
        return fingerprint(module)
    facts = {
        "file": [str(file.path.resolve()), list(file.stamp), file.entry],
        "model_cfg": model_cfg,
        "made_by": [version("open_clip_torch"), code_of("checkpoints", "towers")],
    }
    if (kept := store.get("weights", facts)) is not None:
        return kept.decode()
    mark = fingerprint(module)
    store.put("weights", facts, mark.encode())
    return mark


def as_bytes(tensor: Tensor) -> memoryview:
    """A tensor's values as they lie in memory, without another copy on the CPU."""
    return tensor.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data
