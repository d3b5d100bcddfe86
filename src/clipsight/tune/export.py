"""A tuned model as others load it: a folder whose configuration fixes the activation, and the weights alone.

open_clip_config.json, open_clip_model.safetensors, card.json   see `clipsight.checkpoints.folder`
README.md                                                       the model card
NAME.pt, NAME.safetensors                                       the weights alone, for programs that take a path
tokenizer.json and the like                                     for models with a tokenizer of Hugging Face's

Weights alone do not show their activation (see `clipsight.checkpoints.activation`): the .safetensors says it in its
header, and the names of both files end in "-quickgelu" where they must be run so.
"""

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save
from torch import nn

from clipsight.checkpoints.fingerprint import state_fingerprint
from clipsight.checkpoints.fit_weights import read_json
from clipsight.checkpoints.folder import CARD, CONFIG, WEIGHTS, stored_state, write_model_folder
from clipsight.errors import CheckpointError, Unsupported
from clipsight.results import atomic_write
from clipsight.towers.loading import Loaded
from clipsight.towers.placing import as_dtype
from clipsight.tune.architecture import architecture_of, check_architecture, listed_name, preprocess_of
from clipsight.tune.model_card import Exported, TuneFacts, model_card, reconstruction
from clipsight.tune.torch_files import disk_full_said, write_torch

README = "README.md"
BARE = ("pt", "safetensors")
"""Kinds of files that hold the weights alone."""

_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip
"""Files that transformers' tokenizers are saved as."""
STAGING = ".export-"


def export_model(
    folder: str | os.PathLike[str],
    model: Loaded | nn.Module,
    facts: TuneFacts,
    *,
    model_cfg: Mapping[str, Any] | None = None,
    preprocess_cfg: Mapping[str, Any] | None = None,
    dtype: torch.dtype | str = "float32",
    bare: Collection[str] = BARE,
    stem: str = "",
    overwrite: bool = False,
) -> Exported:
    """Write a tuned model: the folder for `local-dir:`, its card, and the weights alone.

    Everything is written beside what is there and then renamed: where something fails the folder is as it was.

    Args:
        folder: made if needed.
        model: the model, adapters merged. A `Loaded` whose module was trained apart: `dataclasses.replace(loaded,
            module=…)`. Of a `Loaded` the templates, contrast vocabulary and surgery depth of its card are kept, and the
            files of a tokenizer of Hugging Face's.
        facts: for the card.
        model_cfg: open_clip's architecture with `quick_gelu` as the model runs; None asks `architecture_of`.
        preprocess_cfg: open_clip's picture settings; None asks `architecture_of`.
        dtype: number type of the stored weights: float32, float16, bfloat16.
        bare: which files of weights alone are written, of `BARE`.
        stem: their name, "" for the folder's.
        overwrite: replace an earlier export in that folder, all of its files.

    Raises:
        Unsupported: a live module without `model_cfg`, a model of transformers'.
        FileExistsError: the folder holds a model already and `overwrite` is False.
        ValueError: the architecture is not that of the model, adapters are not merged, a weight is not finite.
        ClipsightError: the disk is full; the folder is as it was.
    """
    place, kind = Path(folder), as_dtype(dtype) or torch.float32
    if unknown := set(bare) - set(BARE):
        raise ValueError(f"bare={sorted(unknown)} is no kind of file; taken are {', '.join(BARE)}.")
    loaded = model if isinstance(model, Loaded) else None
    module = model.module if isinstance(model, Loaded) else model
    model_cfg, preprocess_cfg = _settled(model, model_cfg, preprocess_cfg)
    check_architecture(module, model_cfg)
    quick = bool(model_cfg.get("quick_gelu"))
    model_cfg = {**model_cfg, "quick_gelu": quick}
    stem = (stem or place.absolute().name) + ("-quickgelu" if quick else "")
    files = {ending: place / f"{stem}.{ending}" for ending in BARE if ending in bare}
    earlier = _earlier(place, [path.name for path in files.values()], overwrite)

    state = stored_state(module, kind)
    made = Exported(
        folder=place,
        bare=files,
        model=listed_name(model_cfg),
        quick_gelu=quick,
        dtype=str(kind).removeprefix("torch."),
        fingerprint=state_fingerprint(state),
        preprocess_cfg=preprocess_cfg,
    )
    with disk_full_said(f"The model folder {place}", "What was there before is untouched"):
        place.mkdir(parents=True, exist_ok=True)
        for left in place.glob(f"{STAGING}*.tmp"):  # by an export that was killed
            shutil.rmtree(left, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, suffix=".tmp", dir=place))
        try:
            if loaded is not None and isinstance(loaded.tokenizer, HFTokenizer):
                loaded.tokenizer.tokenizer.save_pretrained(staging)
            _write_bare(staging, made, state)
            with atomic_write(staging / README) as file:
                file.write(model_card(facts, replace(made, folder=place.absolute())).encode())
            names = sorted({path.name for path in staging.iterdir()} | {CONFIG, WEIGHTS, CARD})
            extras = _card(loaded, facts, names)
            write_model_folder(staging, module, model_cfg, preprocess_cfg, extras, kind)
            for file_name in names:
                os.replace(staging / file_name, place / file_name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    for old in earlier - set(names):
        with suppress(FileNotFoundError):
            (place / old).unlink()
    return made


def _earlier(place: Path, files: Sequence[str], overwrite: bool) -> set[str]:
    """Names of the files of an earlier export in the folder, where that may be replaced."""
    there = [name for name in (CONFIG, WEIGHTS, CARD, README, *files) if (place / name).exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{str(place)!r} holds a model already ({', '.join(there)}) and was left as it is; choose another folder "
            "or pass overwrite=True."
        )
    try:
        listed = read_json(place / CARD).get("files") or ()
    except CheckpointError:
        return set()  # the card of another program, or none: nothing is known to be ours
    return {name for one in listed if _ours(name := Path(str(one)).name)}


def _ours(name: str) -> bool:
    """Whether an export may have written a file of this name: a card that was tampered with removes nothing else."""
    return name in (CONFIG, WEIGHTS, CARD, README, *_TOKENIZER) or Path(name).suffix in (
        ".pt",
        ".safetensors",
    )


def _write_bare(staging: Path, made: Exported, state: dict[str, torch.Tensor]) -> None:
    if (path := made.bare.get("pt")) is not None:
        write_torch(staging / path.name, state)
    if (path := made.bare.get("safetensors")) is not None:
        said = {"format": "pt", "quick_gelu": str(made.quick_gelu).lower()}
        if made.model:
            said["model"] = made.model
        with atomic_write(staging / path.name) as file:
            file.write(save(state, metadata=said))


def _card(loaded: Loaded | None, facts: TuneFacts, files: list[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if loaded is not None:
        card = loaded.card
        kept = {
            "templates": card.templates,
            "contrast_vocabulary": card.contrast_vocabulary,
            "surgery_depth": card.surgery_depth,
        }
    origin = f"Tuned from {facts.base}; see {README} in its folder."
    return {
        "about": origin,
        "notes": [note for note in (reconstruction(facts), origin) if note],
        **{name: value for name, value in kept.items() if value},
        "tuning": asdict(facts),
        "files": files,
    }


def _settled(
    model: Loaded | nn.Module, model_cfg: Mapping[str, Any] | None, preprocess_cfg: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Both configurations, as given or as the model says."""
    if isinstance(model, Loaded):
        return model_cfg or architecture_of(model)[0], preprocess_cfg or preprocess_of(model)
    if model_cfg is None or preprocess_cfg is None:
        raise Unsupported(
            f"a module of class {type(model).__name__} was to be exported, and a module does not say the architecture "
            "it was built from; pass model_cfg= and preprocess_cfg=, or what load_model gave."
        )
    return model_cfg, preprocess_cfg
