"""Which tensors of a file are the model: training checkpoints hold averages, optimizers and wrappers beside it.

A file falls into parts: an entry of a training checkpoint, or within one the tensors under a common prefix ("model.",
"ema_model."). The plain weights are taken by default and the rest is said; `#NAME` behind the path asks for a part.
"""

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clipsight.errors import CheckpointError
from clipsight.untrusted import parse_json

State = dict[str, Tensor]

_PLAIN = ("state_dict", "model_state_dict", "model", "module", "model_state", "net", "network", "weights")
_INNER = ("state_dict", "module", "model")
_NO_MODEL = re.compile(r"optim|sched|scaler|rng|callback|loop", re.IGNORECASE)
_AVERAGED = re.compile(r"(^|[^a-z])(ema|swa|averaged)([^a-z]|$)", re.IGNORECASE)
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into names, anywhere."""
_OUTER = ("module.", "model.", "clip.", "net.", "network.")
"""What data parallel and training frameworks put before names."""

_KEPT_POSITIONS = 20
_SETTINGS = ("args", "hyper_parameters", "hparams", "config", "cfg", "opt", "model_cfg", "model_config")
_FACTS = (
    "model",
    "model_name",
    "arch",
    "name",
    "pretrained",
    "quick_gelu",
    "force_quick_gelu",
    "hidden_act",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenWeights:
    """The weights that were taken, and a sentence for each choice that was made."""

    state: State
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    entry: str  # key of a training checkpoint, "" for a bare state dict
    prefix: str  # what stood before every name, with its dot
    state: State

    @property
    def averaged(self) -> bool:
        return bool(_AVERAGED.search(self.entry) or _AVERAGED.search(self.prefix))

    @property
    def names(self) -> tuple[str, ...]:
        """What a user may call it, the clearest first."""
        return tuple(name for name in (self.prefix.rstrip("."), self.entry) if name)


def choose_weights(content: object, asked: str, source: str) -> ChosenWeights:
    """The tensors of one model among what a file holds, by their names in the model.

    Args:
        content: what the file holds.
        asked: name of a part, "ema" for averaged weights, "" for the plain weights.
        source: the file, for messages.

    Raises:
        CheckpointError: no named tensors, no such part, or several and none asked for.
    """
    found = list(_parts(content))
    if not found:
        raise CheckpointError(
            f"weights {source}: the file holds no named tensors but a {type(content).__name__}; save a state dict: "
            "torch.save(model.state_dict(), PATH)."
        )
    part = _asked(found, asked, source) if asked else _plain(found, source)
    notes = []
    others = [other for other in found if other is not part and other.averaged]
    if part.averaged and not asked:
        notes.append(f"The file holds averaged weights only ({part.names[0]!r}); they were taken.")
    elif others and not asked:
        notes.append(
            f"The file also holds averaged weights (EMA, {others[0].names[0]!r}); the plain ones were taken. "
            f"pretrained={source + '#ema'!r} takes the averaged ones."
        )
    if part.prefix not in ("", "module.") and (left := _left_out(content, part, found)):
        shown = ", ".join(left[:3]) + (", …" if len(left) > 3 else "")
        notes.append(f"Left out, because they are not under {part.prefix!r} as the model is: {shown}.")
    return ChosenWeights(state=part.state, notes=tuple(notes))


def join_positions(state: State) -> tuple[State, tuple[str, ...]]:
    """Long-CLIP's two tables of text positions as the one that its text tower adds up (arXiv 2403.15378).

    It adds rows 1 to 20 of the first, which were kept, and the others of the second, which were trained.
    """
    table, rest = state.get("positional_embedding"), state.get("positional_embedding_res")
    if table is None or rest is None or table.shape != rest.shape or len(table) <= _KEPT_POSITIONS:
        return state, ()
    joined = torch.cat([table[:_KEPT_POSITIONS], rest[_KEPT_POSITIONS:].to(table.dtype)])
    plain = {name: tensor for name, tensor in state.items() if name != "positional_embedding_res"}
    note = f"Long-CLIP's two tables of {len(joined)} text positions were joined, as its text tower adds them."
    return {**plain, "positional_embedding": joined}, (note,)


def facts(content: object, depth: int = 4) -> dict[str, str | bool]:
    """What a file says of its model in plain words: model names, activation, where it started from.

    Looks at the file's own entries and, a few levels deep, at the arguments and settings that training programs keep;
    tensors never count.
    """
    if isinstance(content, argparse.Namespace):
        content = vars(content)
    if isinstance(content, str) and content.lstrip().startswith("{"):
        try:
            content = parse_json(content)
        except ValueError:
            return {}
    if not isinstance(content, Mapping) or not depth:
        return {}
    said = {name: content[name] for name in _FACTS if isinstance(content.get(name), str | bool)}
    for name in _SETTINGS:
        said = {**facts(content.get(name), depth - 1), **said}
    return said


def _parts(content: object) -> Iterator[_Part]:
    if not isinstance(content, Mapping):
        return
    bare = _tensors(content)
    if 2 * len(bare) > len(content):  # else these are a step number or the like beside the weights
        yield from _by_prefix("", bare)
    for key, value in content.items():
        if not isinstance(value, Mapping) or _NO_MODEL.search(str(key)):
            continue
        inner = next((value[name] for name in _INNER if isinstance(value.get(name), Mapping)), None)
        if named := _tensors(value) or _tensors(inner or {}):
            yield from _by_prefix(str(key), named)


def _tensors(content: Mapping[Any, Any]) -> State:
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _by_prefix(entry: str, named: State) -> Iterator[_Part]:
    """One part for each prefix before a whole model; one for all if no name is a CLIP model's."""
    named = {_unwrapped(name): tensor for name, tensor in named.items()}
    before = {re.split(r"(?:^|\.)visual\.", name)[0] for name in named if re.search(r"(^|\.)visual\.", name)}
    prefixes = {f"{outer}." if outer else "" for outer in before}
    whole = {prefix for prefix in prefixes if f"{prefix}logit_scale" in named}
    prefixes = whole or set(sorted(prefixes, key=len)[:1]) or {_outer(named)}
    for prefix in sorted(prefixes):
        inside = [p for p in prefixes if p != prefix and p.startswith(prefix)]
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in named.items()
            if name.startswith(prefix) and not any(name.startswith(p) for p in inside)
        }
        yield _Part(entry=entry, prefix=prefix, state=state)


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _outer(named: State) -> str:
    """The frameworks' prefix that all names share."""
    prefix = ""
    while step := next((o for o in _OUTER if all(name.startswith(prefix + o) for name in named)), ""):
        prefix += step
    return prefix


def _plain(found: list[_Part], source: str) -> _Part:
    plain = [part for part in found if not part.averaged]
    for entry in (*_PLAIN, ""):
        here = [part for part in plain if part.entry == entry]
        if len(here) == 1:
            return here[0]
        if here:
            plain = here
            break
    remaining = plain or found
    if len(remaining) == 1:
        return remaining[0]
    first = remaining[0].names[0]
    raise CheckpointError(
        f"weights {source}: the file holds several sets of weights, {_listed(remaining)}; name one behind the path: "
        f"pretrained={source + '#' + first!r}."
    )


def _asked(found: list[_Part], asked: str, source: str) -> _Part:
    if asked.lower() == "ema":
        fitting = [part for part in found if part.averaged]
    else:
        fitting = [part for part in found if asked in part.names]
    if not fitting:
        raise CheckpointError(
            f"weights {source}: {asked!r} was asked for, but the file holds {_listed(found) or 'one set of weights'}; "
            "name one of them behind the #, or leave it out."
        )
    return next((part for part in fitting if not part.averaged), fitting[0])


def _listed(parts: list[_Part]) -> str:
    return ", ".join(repr(part.names[0]) for part in parts if part.names)


def _left_out(content: object, part: _Part, found: list[_Part]) -> list[str]:
    """Names beside the part, in its entry, that belong to no part at all."""
    if not isinstance(content, Mapping):
        return []
    entry = content[part.entry] if part.entry else content
    taken = [other.prefix for other in found if other.entry == part.entry]
    names = [_unwrapped(name) for name in _tensors(entry)]
    return [name for name in names if not any(name.startswith(prefix) for prefix in taken)]
