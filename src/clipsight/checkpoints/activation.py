"""GELU or QuickGELU: what decides which of the two a set of weights is run with, and who said so.

OpenAI, MetaCLIP and DFN weights were trained with QuickGELU, and so was as a rule what was tuned from them; most others
with GELU. The weights have no trace of it: the wrong one runs, looks plausible and is worse. So it is decided by what
someone wrote down, in this order: the user; the tag or the configuration; the file's own training arguments or header;
what lies beside it; the published file that it is. Then its name, as a hint, and open_clip's default, as a guess.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from clipsight.checkpoints.fit_weights import read_json
from clipsight.checkpoints.folder import CONFIG
from clipsight.checkpoints.weight_files import WeightFile
from clipsight.errors import CheckpointError, ClipsightWarning

NAMES = {True: "QuickGELU", False: "GELU"}

_FLAGS = ("quick_gelu", "force_quick_gelu")
_RUN_NAME = re.compile(r"model_(.+?)-lr_")
"""How open_clip names a training run by itself: date-model_NAME-lr_…"""
_ORIGINAL = ("input_resolution", "context_length", "vocab_size")
"""What OpenAI's archives hold beside the weights; no training program of others writes all three."""


@dataclass(frozen=True, kw_only=True)
class Activation:
    """Which activation runs, and why.

    Attributes:
        quick: QuickGELU rather than GELU.
        reason: what decided, as the end of the sentence "QuickGELU, …".
    """

    quick: bool
    reason: str

    def __str__(self) -> str:
        """Such as "QuickGELU, by the tag 'openai' of ViT-B-32"."""
        return f"{NAMES[self.quick]}, {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Clue:
    """What one source says; `sure` when it was written down by whoever trained, not guessed from a name."""

    quick: bool
    source: str
    sure: bool


def settled(asked: bool | None, trained: bool, said_by: str) -> Activation:
    """What a tag or a configuration says, unless the user overrules it, which is warned of."""
    if asked is None or asked == trained:
        return Activation(quick=trained, reason=f"by {said_by}")
    return _overruled(asked, f"quick_gelu={asked}", trained, said_by)


def from_evidence(
    asked: bool | None, file: WeightFile, name: str, beside: Mapping[str, Any] | None = None
) -> Activation:
    """The activation for a weight file that was given by its path.

    A sure clue decides silently, a hint with a warning; without either it is GELU, open_clip's default, with a warning.
    Architectures that open_clip has with GELU alone need no clue.

    Args:
        asked: the user's `quick_gelu`.
        file: the weights.
        name: the architecture's name as open_clip knows it, "" for none; the ending "-quickgelu" asks for it.
        beside: open_clip's architecture from a file in the same folder, if it is that of the weights.
    """
    found = list(clues(file, name, beside))
    sure = next((clue for clue in found if clue.sure), None)
    if asked is not None or name.endswith("-quickgelu"):
        wanted, by = (asked, f"quick_gelu={asked}") if asked is not None else (True, name)
        if sure is not None and sure.quick != wanted:
            return _overruled(wanted, by, sure.quick, sure.source)
        return Activation(quick=wanted, reason=f"as asked with {by}")
    if sure is not None:
        return Activation(quick=sure.quick, reason=f"by {sure.source}")
    if name and f"{name}-quickgelu" not in open_clip.list_models():
        return Activation(quick=False, reason=f"by the configuration of {name}")
    hint = found[0] if len({clue.quick for clue in found}) == 1 else None
    quick, why = (hint.quick, hint.source) if hint else (False, "nothing says which")
    _warn(
        f"weights {file.path} do not say their activation, and such models exist with both: {NAMES[quick]} is used, "
        f"{'a guess, because ' + why if hint else 'the default of open_clip'}. If they come from OpenAI, MetaCLIP or "
        "DFN weights, pass quick_gelu=True (--quick-gelu); else quick_gelu=False (--no-quick-gelu)."
    )
    return Activation(quick=quick, reason=f"assumed: {why}")


def clues(file: WeightFile, name: str = "", beside: Mapping[str, Any] | None = None) -> Iterator[Clue]:
    """What there is to go by, the surest first; arguments as for `from_evidence`."""
    yield from _from_facts(file.said)
    if all(entry in file.state for entry in _ORIGINAL):
        yield Clue(quick=True, source="the layout of OpenAI's own release", sure=True)
    if beside is not None:
        yield Clue(quick=bool(beside.get("quick_gelu")), source=f"{CONFIG} beside it", sure=True)
    yield from _from_transformers_config(file.path.parent / "config.json")
    if (published := published_as(file.path)) is not None:
        model, tag = published
        yield Clue(
            quick=tag_activation(model, tag),
            source=f"the tag {tag!r} of {model}, whose file it is",
            sure=True,
        )
    yield from _from_words(file.path, name)


def said_model(said: Mapping[str, str | bool]) -> str:
    """The open_clip name that a file's own facts name, "" for none."""
    run = _RUN_NAME.search(str(said.get("name", "")))
    for word in (said.get("model"), said.get("model_name"), said.get("arch"), run[1] if run else None):
        if isinstance(word, str) and (known := word.replace("/", "-")) in open_clip.list_models():
            return known
    return ""


def published_as(path: Path) -> tuple[str, str] | None:
    """(name, tag) of open_clip's whose published file this is by its name or by its place in the hub's cache."""
    folders = {part.rpartition("--")[2] for part in path.absolute().parts[:-1]}
    for model, tag in open_clip.list_pretrained():
        settings: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
        repository = settings.get("hf_hub", "").rstrip("/").rpartition("/")[2]
        # A published name ends with the first eight digits of the file's hash; OpenAI's do not and prove nothing.
        address = settings.get("url", "").rpartition("/")[2]
        if (path.name == address and re.search(r"-[0-9a-f]{8}\.pth?$", address)) or repository in folders:
            return model, tag
    return None


def _from_facts(said: Mapping[str, str | bool]) -> Iterator[Clue]:
    """From training arguments, settings or a file's header."""
    model, flags = said_model(said), {key: str(said.get(key, "")).lower() for key in _FLAGS}
    for key in _FLAGS:
        if flags[key] in ("true", "1"):
            yield Clue(quick=True, source=f"its own settings ({key}=True)", sure=True)
    if (word := said.get("hidden_act")) in ("quick_gelu", "gelu"):
        yield Clue(quick=word == "quick_gelu", source=f"its own settings (hidden_act={word})", sure=True)
    if model.endswith("-quickgelu"):
        yield Clue(quick=True, source=f"its own settings (model {model})", sure=True)
    begun = str(said.get("pretrained", ""))
    starts = {
        tag_activation(m, tag) for m, tag in open_clip.list_pretrained() if tag == begun and model in ("", m)
    }
    if starts == {True}:
        # Whether a training that starts from such a tag keeps QuickGELU depends on open_clip's version: a hint.
        yield Clue(quick=True, source=f"its training started from {begun!r}", sure=False)
    elif model and flags["force_quick_gelu"] in ("false", "0"):
        yield Clue(quick=False, source=f"its own settings (model {model}, force_quick_gelu=False)", sure=True)
    elif flags["quick_gelu"] in ("false", "0"):
        yield Clue(quick=False, source="its own settings (quick_gelu=False)", sure=True)


def _from_transformers_config(path: Path) -> Iterator[Clue]:
    """From the configuration that repositories keep for transformers' copy of the same model."""
    try:
        config = read_json(path)
    except CheckpointError:
        return  # another program's file of this common name, or none: it says nothing about the weights
    for tower in ("vision_config", "text_config"):
        part = config.get(tower)
        if isinstance(part, Mapping) and (word := part.get("hidden_act")) in ("quick_gelu", "gelu"):
            yield Clue(quick=word == "quick_gelu", source=f"{path.name} beside it", sure=True)


def _from_words(path: Path, name: str) -> Iterator[Clue]:
    """From the file's name: a word with which all tags of this architecture begin that have one activation."""
    words = {word for word in re.split(r"[^a-z0-9]+", path.stem.lower()) if len(word) > 2}
    if "quickgelu" in re.sub(r"[^a-z]", "", path.stem.lower()):
        yield Clue(quick=True, source="its name says quickgelu", sure=False)
    plain = name.removesuffix("-quickgelu")
    tags = [
        (tag, model)
        for model, tag in open_clip.list_pretrained()
        if model.removesuffix("-quickgelu") == plain
    ]
    for word in sorted(words):
        says = {tag_activation(model, tag) for tag, model in tags if tag.lower().startswith(word)}
        if len(says) == 1:
            yield Clue(quick=says.pop(), source=f"its name says {word}", sure=False)


def tag_activation(model: str, tag: str) -> bool:
    """Whether a tag's weights were trained with QuickGELU; where it is silent, the configuration of the model holds."""
    settings: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
    built = bool((open_clip.get_model_config(model) or {}).get("quick_gelu"))
    return bool(settings.get("quick_gelu", built))


def _overruled(wanted: bool, by: str, trained: bool, said_by: str) -> Activation:
    _warn(
        f"{by} was asked for, but {said_by} says that the weights were trained with {NAMES[trained]}; "
        f"{NAMES[wanted]} is used as asked. Leave it out for the right one."
    )
    return Activation(quick=wanted, reason=f"as asked with {by}; {said_by} says {NAMES[trained]}")


def _warn(sentence: str) -> None:
    warnings.warn(sentence, ClipsightWarning, stacklevel=7)
