"""The mean of several tuned models, read from their files and exported."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clipsight.checkpoints.fit_weights import read_json
from clipsight.checkpoints.folder import CARD
from clipsight.errors import CheckpointError
from clipsight.towers.loading import Loaded, load_model
from clipsight.tune.export import export_model
from clipsight.tune.interpolation import soup
from clipsight.tune.model_card import Exported, TuneFacts


def average_checkpoints(
    paths: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    model: str | None = None,
    quick_gelu: bool | None = None,
    facts: TuneFacts | None = None,
    **options: Any,
) -> Exported:
    """Export the mean of several tuned models, a soup; one is held in memory beside the sum.

    Args:
        paths: model folders and files of weights, of the same architecture and activation.
        folder: where to.
        model: open_clip name of the architecture, for files that do not show it.
        quick_gelu: for files that do not say their activation.
        facts: for the card; None says which models were averaged.
        options: `dtype`, `bare`, `stem`, `overwrite`, as for `export_model`.

    Raises:
        CheckpointError: a file cannot be read.
        ValueError: none given, or they do not go together.
        As `export_model`.
    """
    if not paths:
        raise ValueError("a soup of no models was asked for; give at least one folder or weight file.")
    first_of: dict[str, Loaded] = {}
    sources: list[str] = []

    def states() -> Iterator[Mapping[str, torch.Tensor]]:
        for given in paths:
            path = os.fspath(given)
            one = _open(path, model, quick_gelu)
            first = first_of.setdefault("model", one)
            if one.card.activation != first.card.activation:
                raise ValueError(
                    f"{path} runs {one.activation}, but {paths[0]} runs {first.activation}; the mean of such weights "
                    "means nothing. Average models of one activation, or say quick_gelu= where a file does not know "
                    "its own."
                )
            sources.append(f"{Path(path).name} ({one.fingerprint})")
            yield one.module.state_dict()

    mean = soup(states())
    made = first_of["model"]
    made.module.load_state_dict(mean)
    if facts is None:
        facts = TuneFacts(
            base=f"the mean of {', '.join(sources)}",
            objectives=_objectives(paths),
            notes=("A model soup: the mean of the weights of several models tuned from the same start.",),
        )
    return export_model(folder, made, facts, **options)


def _open(path: str, model: str | None, quick_gelu: bool | None) -> Loaded:
    if not Path(path.removeprefix("local-dir:")).exists():
        raise CheckpointError(
            f"{path!r} was to be averaged and is not there; give folders of models, or .pt or .safetensors files."
        )
    if Path(path).is_dir() or path.startswith("local-dir:"):
        return load_model(f"local-dir:{path.removeprefix('local-dir:')}", device="cpu", quick_gelu=quick_gelu)
    if model is None:
        return load_model(path, device="cpu", quick_gelu=quick_gelu)
    return load_model(model, path, device="cpu", quick_gelu=quick_gelu)


def _objectives(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """What the averaged models say of their losses, so that a soup of reconstructions says so too."""
    found: dict[str, Any] = {}
    for given in paths:
        place = Path(os.fspath(given).removeprefix("local-dir:"))
        card = (place if place.is_dir() else place.parent) / CARD
        if card.is_file():
            found |= (read_json(card).get("tuning") or {}).get("objectives") or {}
    return found
