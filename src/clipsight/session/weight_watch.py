"""Whether a model still has the weights of its cached answers; detects in-place changes of `.data` too.

Torch counts changes that autograd sees. Others, such as `p.data.mul_(1.1)`, leave no trace but the values, so the
values themselves are summed: rows of 64 words of 8 bytes against weights that are drawn once for each process, as the
rows' sums are again, and what is left is hashed. A change of one word is always seen. Any other is missed with a
probability of about 2⁻⁶⁰, or 2⁻³⁰ where it leaves the lower half of every word alone. One core takes 45 ms for the
600 MB of ViT-B/32, about as fast as the memory is read.

Modules that somebody else holds (live ones) are summed in full at each question. Of one that clipsight read itself from
a file, tensors of less than 128 kB are, and one row in 256 of the others, which sees every change of a whole tensor.
"""

import hashlib
from collections.abc import Iterable
from functools import cache

import numpy as np
import torch
from jaxtyping import UInt8, UInt64
from torch import Tensor, nn

_WORDS = 64
_EVERY = 256
"""Of so many rows one is looked at, in modules that nobody else holds."""
Words = UInt64[np.ndarray, " _"]
Marks = tuple[object, ...]
"""What changes when the weights do; compared, never read."""


def weight_marks(module: nn.Module, *, live: bool) -> Marks:
    """The marks of a model as it is now.

    Args:
        live: whether somebody else holds the module.
    """
    tensors = [*module.parameters(), *module.buffers()]
    every = 1 if live else _EVERY
    seen = tuple((one.data_ptr(), 0 if one.is_inference() else one._version, one.dtype) for one in tensors)
    modes = tuple(part.training for part in module.modules())
    return seen, modes, content_sum(tensors, every)


@torch.no_grad()
def content_sum(tensors: Iterable[Tensor], every: int = 1) -> str:
    """A hash of the values of tensors, see the head of this file; of one row in `every` alone."""
    digest = hashlib.blake2b(digest_size=16)
    sums: list[Words] = []
    for one in tensors:
        digest.update(f"{one.dtype}{tuple(one.shape)}".encode())
        if one.device.type == "cpu":
            content = one.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        else:
            content = _on_device(one, every)
        words = content[: len(content) // 8 * 8].view(np.uint64)
        digest.update(content[len(words) * 8 :].data)
        sums += _summed(words, every if one.device.type == "cpu" else 1)
    digest.update(np.concatenate(_summed(np.concatenate(sums), 1)).data if sums else b"")
    return digest.hexdigest()


def _summed(words: Words, every: int) -> list[Words]:
    """The sum of each row of words, and the words behind the last whole row."""
    if every > 1 and len(words) > _WORDS * every:
        words = words[: len(words) // (_WORDS * every) * _WORDS * every].reshape(-1, every, _WORDS)[:, 0]
        return [words @ _drawn()]
    whole = len(words) // _WORDS * _WORDS
    return [words[:whole].reshape(-1, _WORDS) @ _drawn(), words[whole:]]


def _on_device(tensor: Tensor, every: int) -> UInt8[np.ndarray, " _"]:
    """The sums of a tensor on an accelerator, and what is left over, as bytes on the CPU."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    size = 8 * _WORDS * every
    whole = len(flat) // size * size
    rest = flat[whole:].cpu().numpy()
    if not whole:
        return rest
    aligned = flat[:whole] if flat.storage_offset() % 8 == 0 else flat[:whole].clone()
    rows = aligned.view(torch.int64).view(-1, every, _WORDS)[:, 0]
    weights = torch.from_numpy(_drawn().view(np.int64)).to(tensor.device)
    return np.concatenate([(rows * weights).sum(1).cpu().numpy().view(np.uint8), rest])


@cache
def _drawn() -> Words:
    """Odd numbers of 64 bits, others in each process; odd, so that no change of a single word is lost."""
    return np.random.default_rng().integers(0, 2**63, _WORDS, dtype=np.uint64) * 2 + 1
