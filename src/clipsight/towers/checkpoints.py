"""Weights from files: read without running code, matched to an architecture, refused in one sentence."""

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from clipsight.errors import CheckpointError, ClipsightWarning

State = dict[str, Tensor]

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Endings of weight files that are read."""

_CODE_WORDS = ("global", "blocked", "reduce", "allowlisted")
"""One of these is in PyTorch's message when a pickle asks for more than tensors."""

_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
_POSITION_IDS = "text.transformer.embeddings.position_ids"
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", _POSITION_IDS)


def read_state(path: Path) -> State:
    """The tensors of a weight file, on the CPU, in the number type they were saved in.

    Reads safetensors, and PyTorch files with `weights_only=True`: plain state dicts, or training checkpoints that keep
    one under "state_dict" or "model". The prefixes "module." (data parallel) and "_orig_mod." (torch.compile) go.

    Raises:
        CheckpointError: no such file, truncated, another format, TorchScript, a pickle that holds code, no weights.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"weights {path}: it {what}; name a file ending in {', '.join(SUFFIXES)}.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    named = content.items() if isinstance(content, Mapping) else ()
    state = {str(name): tensor for name, tensor in named if isinstance(tensor, Tensor)}
    if not state:
        raise CheckpointError(
            f"weights {path}: the file holds no named tensors but a {type(content).__name__}; save a state dict: "
            "torch.save(model.state_dict(), PATH)."
        )
    for prefix in ("module.", "_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def apply_state(module: nn.Module, state: State, *, source: str, architecture: str) -> None:
    """Put weights into an open_clip model that was just built; values are cast to the model's number type.

    Takes open_clip's and OpenAI's layouts and those that open_clip converts. A position table of another size is
    resampled as open_clip does, with a warning.

    Args:
        module: model to fill.
        state: named tensors; not changed.
        source: where the weights come from, for messages.
        architecture: what the model was asked for as, for messages.

    Raises:
        CheckpointError: the weights belong to another architecture; lists the first names that differ.
    """
    model: Any = module
    state = dict(convert_state_dict(model, dict(state)))
    if "positional_embedding" in state and not hasattr(module, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = module.state_dict()
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in own and state[name].numel() == own[name].numel():
            state[name] = state[name].reshape(own[name].shape)
    if "logit_bias" in own and "logit_bias" not in state and "logit_scale" in state:
        state["logit_bias"] = torch.zeros_like(own["logit_bias"])
    for name in _NOT_WEIGHTS:
        if name not in own:
            state.pop(name, None)
    _resample_positions(module, own, state, source)
    if (difference := _difference(own, state)) is not None:
        raise CheckpointError(
            f"weights {source} do not fit {architecture}: {difference}. Usual cause: they were trained as another "
            f"architecture{_looks(state)}; name that one as the model."
        )
    module.load_state_dict(state)


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _broken(path, error) from None


def _read_pytorch(path: Path) -> object:
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"weights {path}: only files ending in {', '.join(SUFFIXES)} are read.")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise CheckpointError(
                    f"weights {path}: this is a TorchScript archive, which holds code; only plain weights are read. If "
                    "you trust it, convert it once: torch.save(torch.jit.load(PATH).state_dict(), 'weights.pt')."
                )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not any(word in str(error).lower() for word in _CODE_WORDS):
            raise _broken(path, ValueError("it is not in PyTorch's format")) from None
        raise CheckpointError(
            f"weights {path}: refused, because the file asks to run code while it is read (a pickle of more than "
            "tensors); where it was made, save the state dict alone: torch.save(model.state_dict(), PATH)."
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> CheckpointError:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    return CheckpointError(
        f"weights {path}: the file ({path.stat().st_size:,} bytes) cannot be read: {cause}. Usual cause: it is "
        "truncated, a Git LFS pointer, or not a weight file; fetch it again."
    )


def _resample_positions(module: nn.Module, own: Mapping[str, Tensor], state: State, source: str) -> None:
    """Resample position tables of another length when that is all in which the weights differ from the model."""
    if own.keys() != state.keys():
        return
    other = [name for name in own if own[name].shape != state[name].shape]
    if not other or not all(n in _POSITIONS and own[n].shape[-1] == state[n].shape[-1] for n in other):
        return
    before = {name: len(state[name]) for name in other}
    try:
        resize_pos_embed(state, module)
        resize_text_pos_embed(state, module)
    except (RuntimeError, AssertionError):
        return  # a table that is no square grid: it stays as it is and is listed as a difference
    changes = ", ".join(f"{name} from {rows} to {len(state[name])} rows" for name, rows in before.items())
    warnings.warn(
        f"weights {source} were trained at another size: resampled {changes}. Features are approximate; use the "
        "architecture they were trained as for exact ones.",
        ClipsightWarning,
        stacklevel=4,
    )


def _difference(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} ({_shape(state[name])} in the file, {_shape(own[name])} in the model)"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    return "; ".join(f"{len(names)} {kind}: {_first(names)}" for kind, names in kinds if names) or None


def _first(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _looks(state: Mapping[str, Tensor]) -> str:
    """What the image tower in the file looks like, as a hint."""
    patches = state.get("visual.conv1.weight")
    if patches is None or patches.ndim != 4 or "visual.class_embedding" not in state:
        return ""
    depth = len({name.split(".")[3] for name in state if name.startswith("visual.transformer.resblocks.")})
    return f" (the file's tower has width {patches.shape[0]}, patch {patches.shape[-1]} and {depth} blocks)"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: no such file, not JSON, not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; check the path.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a JSON file that can be read ({error}).") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, an object {{…}} was expected.")
    return content
