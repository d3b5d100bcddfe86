"""Weight files: read without running code; unsupported kinds are refused with a reason."""

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

from clipsight.checkpoints.training_files import State, choose_weights, facts, join_positions
from clipsight.errors import CheckpointError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Endings of weight files that are read."""

_CODE_WORDS = ("global", "blocked", "reduce", "allowlisted")
"""One of these is in PyTorch's message when a pickle asks for more than tensors."""

_allowing = Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightFile:
    """Named tensors from a file, and what the file says about them.

    Attributes:
        path: the file.
        entry: the part of it that was asked for by name, "" for the ordinary choice.
        state: the tensors, on the CPU, in the number type they were saved in.
        said: what the file says of itself: training arguments, settings, header; name -> plain value.
        notes: what was chosen and what was left out, one sentence each.
        stamp: identity of the file's content on this machine before it was read (device, inode, size, times).
    """

    path: Path
    entry: str
    state: State
    said: Mapping[str, str | bool]
    notes: tuple[str, ...]
    stamp: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.stamp[2]


def is_weight_path(name: str) -> bool:
    """Whether a name is a path of a weight file, by its ending; an entry may follow as in "file.pt#ema"."""
    return name.partition("#")[0].lower().endswith(SUFFIXES) or name.lower().endswith(SUFFIXES)


def split_entry(name: str) -> tuple[Path, str]:
    """("file.pt", "ema") from "file.pt#ema"; a file whose own name has a "#" is taken whole."""
    path = Path(name)
    if path.exists() or "#" not in name:
        return path, ""
    before, _, entry = name.rpartition("#")
    return Path(before), entry


def read_weights(name: str, *, trust_program: bool = False) -> WeightFile:
    """The tensors of a weight file.

    Reads safetensors, and PyTorch files with `weights_only=True`: plain state dicts and training checkpoints.

    Args:
        name: path of the file; "PATH#ENTRY" takes the entry ENTRY of a training checkpoint, "PATH#ema" its averaged
            weights.
        trust_program: read a TorchScript archive too, as OpenAI's original release is. Such an archive is a program,
            and reading it may run what it holds.

    Raises:
        CheckpointError: no such file, truncated, another format, a program without `trust_program`, a pickle that
            holds code, no weights, several sets of weights and none asked for.
    """
    path, entry = split_entry(name)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"weights {path}: it {what}; name a file ending in {', '.join(SUFFIXES)}.")
    found = path.stat()
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if path.suffix.lower() == ".safetensors":
        content, header = _read_safetensors(path)
    else:
        content, header = _read_pytorch(path, trust_program), {}
    chosen = choose_weights(content, entry, str(path))
    state, joined = join_positions(chosen.state)
    return WeightFile(
        path=path,
        entry=entry,
        state=state,
        said={**facts(header), **facts(content)},
        notes=(*chosen.notes, *joined),
        stamp=stamp,
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _broken(path, error) from None


def _read_pytorch(path: Path, trust_program: bool) -> object:
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(f"weights {path}: only files ending in {', '.join(SUFFIXES)} are read.")
    if _is_program(path):
        if trust_program:
            return _read_program(path)
        raise CheckpointError(
            f"weights {path}: this is a TorchScript archive, as OpenAI's original release is: a program, which may run "
            "code when it is read. If you trust where it comes from, pass trust_program=True (--trust-program)."
        )
    try:
        with _attribute_holders():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not any(word in str(error).lower() for word in _CODE_WORDS):
            raise _broken(path, ValueError("it is not in PyTorch's format")) from None
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it asks for {asked[1]}" if asked else "it holds more than tensors"
        raise CheckpointError(
            f"weights {path}: refused, because the file asks to run code while it is read ({what}); where it was made, "
            "save the state dict alone: torch.save(model.state_dict(), PATH)."
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise _broken(path, error) from None


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _read_program(path: Path) -> State:
    with warnings.catch_warnings():
        # PyTorch asks authors to move on from TorchScript; who holds an archive can only read it.
        warnings.filterwarnings("ignore", message=".*torch.jit.load.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit.load.*", category=FutureWarning)
        try:
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
        except RuntimeError as error:
            raise _broken(path, error) from None


@contextmanager
def _attribute_holders() -> Iterator[None]:
    """Allow argparse.Namespace, in which training programs keep their arguments beside the weights.

    It holds attributes and nothing else (no __setstate__ or __reduce__ of its own, a constructor that only assigns): a
    file cannot make it do anything, and everything inside it still passes PyTorch's restricted unpickler.
    """
    with _allowing:  # the list is one for the process: two threads must not restore each other's
        before = get_safe_globals()
        add_safe_globals([argparse.Namespace])
        try:
            yield
        finally:
            clear_safe_globals()
            add_safe_globals(before)


def _broken(path: Path, error: Exception) -> CheckpointError:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    return CheckpointError(
        f"weights {path}: the file ({path.stat().st_size:,} bytes) cannot be read: {cause}. Usual cause: it is "
        "truncated, a Git LFS pointer, or not a weight file; fetch it again."
    )
