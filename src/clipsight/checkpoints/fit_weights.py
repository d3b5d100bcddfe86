"""Weights into an architecture: brought to its layout, compared with it, refused in one sentence where they differ."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from torch import Tensor, nn

from clipsight.checkpoints.training_files import State
from clipsight.errors import CheckpointError, ClipsightWarning
from clipsight.untrusted import MOST_JSON, parse_json

_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
_POSITION_IDS = "text.transformer.embeddings.position_ids"
_MOST_SCALE = 15.0
"""Of the logarithm: a factor of three million, which no cosine survives in float32."""
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", _POSITION_IDS)


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
    own = module.state_dict()
    aligned = align(module, state)
    _resample_positions(module, own, aligned, source)
    if difference := differences(own, aligned):
        raise CheckpointError(f"weights {source} do not fit {architecture}: {difference}. {_cause(state)}")
    check_numbers(own, aligned, source)
    module.load_state_dict(aligned)


def check_fit(shapes: nn.Module, state: State, *, source: str, architecture: str) -> None:
    """Refuse weights of another architecture before any memory is taken for it: `shapes` is of `build_shapes`.

    Position tables of another length are left to `apply_state`.

    Raises:
        CheckpointError: as `apply_state`.
    """
    own, aligned = shapes.state_dict(), align(shapes, state)
    if own.keys() == aligned.keys():
        other = [name for name in own if own[name].shape != aligned[name].shape]
        if all(name in _POSITIONS for name in other):
            return
    raise CheckpointError(
        f"weights {source} do not fit {architecture}: {differences(own, aligned)}. {_cause(state)}"
    )


def check_numbers(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that are no numbers of a model: NaN, infinity, integers without a scale.

    Args:
        own: the model's tensors, for their number types.
        state: as many weights to go into them.
        source: where they come from, for messages.

    Raises:
        CheckpointError: names the first such weight.
    """
    for name, wanted in own.items():
        tensor = state[name]
        if not wanted.is_floating_point():
            continue
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"weights {source}: {name} holds {str(tensor.dtype).removeprefix('torch.')} and the model computes in "
                "floating point; usual cause: quantised weights, whose scales are not there. Save them as float16 or "
                "float32."
            )
        if not _finite(tensor):
            raise CheckpointError(
                f"weights {source}: {name} holds NaN or infinity; usual cause: a training run that went wrong. Take an "
                "earlier checkpoint."
            )
    scale = state.get("logit_scale")
    if scale is not None and float(scale.float().max()) > _MOST_SCALE:
        raise CheckpointError(
            f"weights {source}: logit_scale is {float(scale.float().max()):g}, and cosines are multiplied by its "
            f"exponential; it must be at most {_MOST_SCALE:g} (CLIP's is 4.6). Usual cause: the factor itself was "
            "stored, not its logarithm."
        )


def _finite(tensor: Tensor) -> bool:
    if not tensor.numel():
        return True
    wide = tensor.float() if tensor.element_size() < 2 else tensor
    low, high = torch.aminmax(wide)  # one pass, nothing allocated; NaN passes through
    return bool(torch.isfinite(low) & torch.isfinite(high))


def align(module: nn.Module, state: Mapping[str, Tensor]) -> State:
    """The same weights under the names and in the layout of `module`, without what is no weight of its."""
    model: Any = module
    own = module.state_dict()
    aligned: State = dict(convert_state_dict(model, dict(state)))
    if "positional_embedding" in aligned and not hasattr(module, "positional_embedding"):
        aligned = convert_to_custom_text_state_dict(aligned)
    for name in ("logit_scale", "logit_bias"):
        if name in aligned and name in own and aligned[name].numel() == own[name].numel():
            aligned[name] = aligned[name].reshape(own[name].shape)
    if "logit_bias" in own and "logit_bias" not in aligned and "logit_scale" in aligned:
        aligned["logit_bias"] = torch.zeros_like(aligned["logit_scale"])
    for name in _NOT_WEIGHTS:
        if name not in own:
            aligned.pop(name, None)
    return aligned


def differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The first names that are missing, unexpected and of another shape; "" when all fit."""
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} ({_shape(state[name])} in the file, {_shape(own[name])} in the model)"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    return "; ".join(f"{len(names)} {kind}: {first_names(names)}" for kind, names in kinds if names)


def first_names(names: list[str], most: int = 3) -> str:
    """The first few of several names."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def foreign(state: Mapping[str, Tensor]) -> str:
    """Whose layout the weights have if it is not open_clip's, and what to do with them; "" for open_clip's own."""
    if any(re.match(r"(\w+\.)?(vision_model|text_model)\.", name) for name in state):
        return (
            "this is a transformers checkpoint (names such as vision_model. and text_model.); load the folder that it "
            'lies in, with its config.json: model="hf:FOLDER"'
        )
    if any("lora_" in name for name in state):
        return (
            "these weights hold LoRA adapters; merge them into the model where it was tuned (merge_and_unload) and "
            "save that"
        )
    return ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: no such file, not JSON, above 64 MiB, nested deeper than any configuration, a key twice, not an
            object.
    """
    try:
        if (size := path.stat().st_size) > MOST_JSON:
            raise CheckpointError(
                f"{path} has {size:,} bytes, more than any configuration; name another file."
            )
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; check the path.") from None
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a JSON file that can be read ({error}).") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, an object {{…}} was expected.")
    return content


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


def _cause(state: Mapping[str, Tensor]) -> str:
    if other := foreign(state):
        return f"Cause: {other}."
    from clipsight.checkpoints.infer import infer_architecture

    try:
        infer_architecture(state, "")
        alone = ", or pass the file alone as the model and its architecture is read from its shapes"
    except CheckpointError:
        alone = ", or write it down as a model-config .json (clipsight.load(CONFIG, FILE))"
    return f"Usual cause: they were trained as another architecture{_looks(state)}; name that one as the model{alone}."


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _looks(state: Mapping[str, Tensor]) -> str:
    """What the image tower in the file looks like, as a hint."""
    patches = state.get("visual.conv1.weight")
    if patches is None or patches.ndim != 4 or "visual.class_embedding" not in state:
        return ""
    depth = len({name.split(".")[3] for name in state if name.startswith("visual.transformer.resblocks.")})
    return f" (the file's tower has width {patches.shape[0]}, patch {patches.shape[-1]} and {depth} blocks)"
