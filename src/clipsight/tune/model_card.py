"""The README of a tuned model: where it comes from, what was done, what it scores, and how to load it right."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from open_clip.transform import PreprocessCfg

_SETTINGS_BY_NAME = {
    "mean": "image_mean",
    "std": "image_std",
    "interpolation": "image_interpolation",
    "resize_mode": "image_resize_mode",
}
"""Picture settings that open_clip takes as arguments beside a name, as it calls them there."""


@dataclass(frozen=True, kw_only=True)
class TuneFacts:
    """How a model came about, as plain data that JSON holds.

    Attributes:
        base: what tuning started from, such as "ViT-B-32, openai". base_fingerprint: of its weights, "" if unknown.
        title: of the card, "" for the folder's name.
        data: what the training pairs are; the collection's `about`.
        command: command line that repeats the run.
        objectives: name -> what the objective's `export` says; one with "reconstructed" in its `what` makes the whole
            model a reconstruction.
        settings: everything else that was set. seeds: of the run or runs.
        scores: row -> column -> value, such as benchmark -> {"before": …, "after": …}.
        licence: terms of the base weights, "" if unknown.
        notes: further sentences.
    """

    base: str
    base_fingerprint: str = ""
    title: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    objectives: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    licence: str = ""
    notes: tuple[str, ...] = ()

    @property
    def reconstructed(self) -> tuple[str, ...]:
        """Names of the objectives that are reconstructions of unpublished programs."""
        return tuple(
            name
            for name, said in self.objectives.items()
            if "reconstructed" in str(said.get("what", "")).lower()
        )


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: the model folder.
        bare: "pt", "safetensors" -> the file of weights alone.
        model: open_clip's name of the architecture, "" where it lists none.
        quick_gelu: whether it runs QuickGELU.
        dtype: number type of the stored weights.
        fingerprint: of the stored weights, the one that a lens of them has.
        preprocess_cfg: picture settings, as open_clip names them.
    """

    folder: Path
    bare: Mapping[str, Path]
    model: str
    quick_gelu: bool
    dtype: str
    fingerprint: str
    preprocess_cfg: Mapping[str, Any]


def model_card(facts: TuneFacts, made: Exported) -> str:
    """The card as Markdown; its Python runs from the folder above the model's."""
    return "\n\n".join(_sections(facts, made)) + "\n"


def reconstruction(facts: TuneFacts) -> str:
    """What must be said of a reconstruction, "" for others."""
    if not facts.reconstructed:
        return ""
    names = ", ".join(f"`{name}`" for name in facts.reconstructed)
    return (
        f"Reconstructed: the authors of the method released no training code, and the loss {names} is clipsight's own "
        "reading of it. These are not the authors' weights, and their published figures do not hold for them."
    )


def _sections(facts: TuneFacts, made: Exported) -> Iterator[str]:
    title = facts.title or made.folder.name
    yield f"# {title} (reconstructed)" if facts.reconstructed else f"# {title}"
    if said := reconstruction(facts):
        yield said
    activation = "QuickGELU" if made.quick_gelu else "GELU"
    yield (f"{made.model or 'A two-tower model'} tuned with clipsight. It runs {activation}, as in training.")
    yield _list(
        {
            "Base model": facts.base
            + (f", fingerprint {facts.base_fingerprint}" if facts.base_fingerprint else ""),
            "These weights": f"fingerprint {made.fingerprint}, stored as {made.dtype}",
            "Seeds": ", ".join(map(str, facts.seeds)) or "not recorded",
        }
    )
    yield from facts.notes
    if facts.scores:
        yield "## Scores"
        yield _table(facts.scores)
    yield "## Loading it"
    yield from _loading(made)
    yield "## Training"
    if facts.command:
        yield f"```sh\n{facts.command}\n```"
    for name, content in (("Data", facts.data), ("Losses", facts.objectives), ("Settings", facts.settings)):
        if content:
            yield f"### {name}"
            yield _list(content)
    yield "## Licence"
    yield (
        f"The weights derive from {facts.base}, and its terms hold for them too"
        f"{': ' + facts.licence if facts.licence else '; clipsight does not know them, look them up before sharing'}. "
        "So do the terms of the training data."
    )


def _loading(made: Exported) -> Iterator[str]:
    folder = json.dumps(f"local-dir:{made.folder.name}", ensure_ascii=False)
    yield "Run these from the folder above this one. With clipsight:"
    yield f"```python\nimport clipsight\n\nlens = clipsight.load({folder})\n```"
    yield "With open_clip, by the folder, whose configuration fixes the activation:"
    yield (
        f"```python\nimport open_clip\n\nmodel, _, preprocess = open_clip.create_model_and_transforms({folder})\n"
        f"model.eval()\ntokenizer = open_clip.get_tokenizer({folder})\n```"
    )
    file = made.bare.get("pt") or made.bare.get("safetensors")
    if file is None:
        return
    if not made.model:
        yield f"`{file.name}` holds the weights alone. open_clip has no name for their architecture: load the folder."
        return
    yield "With open_clip, by the name of the architecture and the file of weights alone:"
    name, path = (
        json.dumps(text, ensure_ascii=False) for text in (made.model, f"{made.folder.name}/{file.name}")
    )
    arguments = [name, f"pretrained={path}", *_picture_arguments(made.preprocess_cfg)]
    if made.quick_gelu:
        arguments.append("force_quick_gelu=True")
    yield (
        "```python\nimport open_clip\n\nmodel, _, preprocess = open_clip.create_model_and_transforms(\n    "
        + ",\n    ".join(arguments)
        + f",\n)\nmodel.eval()\ntokenizer = open_clip.get_tokenizer({name})\n```"
    )
    if made.quick_gelu:
        yield (
            "Do not leave out `force_quick_gelu=True`: the file does not say its activation, and open_clip would run "
            "these weights with GELU without a warning. Features would look plausible and be wrong, and every score "
            "with them."
        )
    else:
        yield (
            "The weights were trained with GELU, open_clip's default: do not pass `force_quick_gelu=True` and do not "
            f"load them as `{made.model}-quickgelu`. Features would look plausible and be wrong, and every score with "
            "them."
        )


def _picture_arguments(settings: Mapping[str, Any]) -> Iterator[str]:
    """Arguments without which open_clip would prepare pictures in another way."""
    usual = asdict(PreprocessCfg())
    for name, argument in _SETTINGS_BY_NAME.items():
        value = settings.get(name, usual[name])
        value = tuple(value) if isinstance(value, list) else value
        if value != usual[name]:
            yield f"{argument}={value!r}"


def _list(content: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in content.items())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(scores: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(column for row in scores.values() for column in row))
    rows = [["", *columns], ["---", *("---:" for _ in columns)]]
    for name, row in scores.items():
        rows.append([name, *(f"{row[column]:.4g}" if column in row else "–" for column in columns)])
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
