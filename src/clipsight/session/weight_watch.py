"""Whether a model is still the one that remembered answers were made with, in-place changes of `.data` included.

Torch counts changes that autograd sees. Others, such as `p.data.mul_(1.1)`, leave no trace but the values, so the
values themselves are summed: rows of 64 words of 8 bytes against weights that are drawn once for each process, as the
rows' sums are again, and what is left is hashed. A change of one word is always seen. Any other is missed with a
probability of about 2⁻⁶⁰, or 2⁻⁴⁴ where it leaves the lower half of every word alone. On two cores it takes 65 ms for
the 600 MB of ViT-B/32, as fast as the memory is read.

Modules that somebody else holds (live ones), and small ones, are summed in full at each question. Of a large one that
clipsight read itself from a file, one row in 64 is, which takes 2 ms and sees every change of a whole tensor.
"""

import hashlib
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn

_WORDS = 64
_SMALL = 64 * 2**20
"""Bytes of weights up to which they are summed in full in any case."""
Marks = tuple[object, ...]
"""What changes when the weights do; compared, never read."""


def weight_marks(module: nn.Module, *, live: bool) -> Marks:
    """The marks of a model as it is now.

    Args:
        live: whether somebody else holds the module.
    """
    tensors = [*module.parameters(), *module.buffers()]
    size = sum(one.nbytes for one in tensors)
    every = 1 if live or size <= _SMALL else _WORDS
    seen = tuple((one.data_ptr(), 0 if one.is_inference() else one._version, one.dtype) for one in tensors)
    modes = tuple(part.training for part in module.modules())
    return seen, modes, content_sum(tensors, every)


@torch.inference_mode(False)
@torch.no_grad()
def content_sum(tensors: Iterable[Tensor], every: int = 1) -> str:
    """A hash of the values of tensors, see the head of this file; of one row in `every` alone."""
    digest = hashlib.blake2b(digest_size=16)
    for one in tensors:
        words, rest = _words(one)
        if every > 1 and len(words) > _WORDS * every:
            rows = words[: len(words) // (_WORDS * every) * _WORDS * every].view(-1, every, _WORDS)
            words = rows[:, 0].reshape(-1)
        while len(words) > 16 * _WORDS:
            whole = len(words) // _WORDS * _WORDS
            sums = _row_sums(words[:whole].view(-1, _WORDS))
            words = torch.cat([sums, words[whole:]])
        digest.update(words.cpu().numpy().tobytes())
        digest.update(rest)
        digest.update(f"{one.dtype}{tuple(one.shape)}".encode())
    return digest.hexdigest()


def _words(tensor: Tensor) -> tuple[Tensor, bytes]:
    """A tensor's memory as whole numbers of 8 bytes, and the bytes that are left over."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    whole = len(flat) // 8 * 8
    rest = flat[whole:].cpu().numpy().tobytes()
    flat = flat[:whole]
    if flat.data_ptr() % 8 or flat.storage_offset() % 8:
        flat = flat.clone()
    return flat.view(torch.int64), rest


def _row_sums(rows: Tensor) -> Tensor:
    weights = _drawn(rows.device)
    return torch.mv(rows, weights) if rows.device.type == "cpu" else (rows * weights).sum(1)


@cache
def _drawn(device: torch.device) -> Tensor:
    """Odd numbers of 64 bits; odd, so that no change of a single word is lost."""
    if device.type != "cpu":
        return _drawn(torch.device("cpu")).to(device)
    drawn = torch.randint(
        -(2**62), 2**62, (_WORDS,), generator=torch.Generator().manual_seed(_seed()), device="cpu"
    )
    return drawn * 2 + 1


def _seed() -> int:
    import secrets

    return secrets.randbits(62)
