"""WiSE-FT on pairs at hand: how well captions are told from false ones, and whether retrieval stays, place by place."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from clipsight.checkpoints.folder import CONFIG
from clipsight.towers.families import towers_of
from clipsight.towers.loading import Loaded, load_model
from clipsight.tune.data.collate import Collate
from clipsight.tune.data.crop import Crop
from clipsight.tune.data.example import Examples
from clipsight.tune.encode import TrainingTowers
from clipsight.tune.export import export_model
from clipsight.tune.foils import FoilMaker
from clipsight.tune.interpolation import Sweep, interpolate, knee, wise_ft_sweep
from clipsight.tune.model_card import TuneFacts
from clipsight.tune.objectives.objective import Needs
from clipsight.tune.validation import halves, retrieval

KINDS = ("swap", "replace")
_BATCH = 64


def chosen_between(
    zero: str,
    tuned: str,
    examples: Examples,
    out: Path,
    *,
    pretrained: str | None = None,
    alphas: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    allowed: float = 0.01,
    device: torch.device | str | None = None,
    overwrite: bool = False,
) -> tuple[Sweep, Path]:
    """The sweep with its chosen place, and the folder of the model there.

    Figures at each place: `foils`, share of captions that score above a false one (the data's own where it has them,
    else swapped or replaced words), and `t2i` and `i2t`, R@1 among the pairs. Chosen is the place of the highest
    `foils` at which `t2i` has fallen by `allowed` at most.

    Args:
        zero, pretrained: the model before tuning; tuned: after it.
        examples: a guard's pairs, which neither was trained on and which no reported figure comes from.
        out: where the chosen model is exported to. overwrite: replace one that lies there.
        alphas: places; 0 is always among them.

    Raises:
        ValueError: models of two architectures, or pairs without any false caption.
        FileExistsError: `out` holds a model.
    """
    if (out / CONFIG).exists() and not overwrite:
        raise FileExistsError(
            f"{out} holds a model already; choose another folder, or pass overwrite (--overwrite)."
        )
    before, after = load_model(zero, pretrained, device), load_model(tuned, None, device)

    def figures(module: nn.Module) -> Mapping[str, float]:
        return told_apart(module, replace(before, module=module), examples)

    sweep = wise_ft_sweep(before.module, after.module, figures, (0.0, *alphas))
    sweep = knee(sweep, gain="foils", guard="t2i", allowed=allowed)
    assert sweep.chosen is not None
    state = interpolate(before.module.state_dict(), after.module.state_dict(), sweep.chosen)
    after.module.load_state_dict(state)
    facts = TuneFacts(
        base=" ".join(filter(None, (zero, pretrained))),
        base_fingerprint=before.fingerprint,
        data=examples.about,
        settings={"wise_ft": sweep.to_dict()},
        notes=(
            *after.card.notes,
            f"Weights at α = {sweep.chosen:g} between the base and {after.name}: {sweep.why}",
        ),
    )
    export_model(out, after, facts, overwrite=overwrite)
    return sweep, out


@torch.no_grad()
def told_apart(module: nn.Module, loaded: Loaded, examples: Examples) -> dict[str, float]:
    """`foils`, `i2t`, `t2i` of a model; see `chosen_between`."""
    view = towers_of(module).text
    device = next(module.parameters()).device
    own = any(examples[index].foils for index in range(min(len(examples), 50)))
    collate = Collate(
        tokenizer=loaded.tokenizer,
        context=view.context,
        preprocess=loaded.preprocess,
        crop=Crop(kind="none"),
        foils=1,
        foil_source=FoilMaker(kinds=("given",) if own else KINDS, count=1),
    )
    rows = [(index, examples[index]) for index in range(len(examples))]
    encode = TrainingTowers(module, view, Needs(foils=1))
    wins = total = 0
    for start in range(0, len(rows), _BATCH):
        batch = collate(rows[start : start + _BATCH]).to(device)
        features, _ = encode(batch, keep=False)
        if features.foils is None or features.foil_valid is None:
            continue
        image = F.normalize(features.image.float(), dim=-1)
        true = (image * F.normalize(features.text.float(), dim=-1)).sum(-1)
        false = (image * F.normalize(features.foils[:, 0].float(), dim=-1)).sum(-1)
        there = features.foil_valid[:, 0]
        wins += int(((true > false) & there).sum())
        total += int(there.sum())
    if not total:
        raise ValueError(
            "no caption of these pairs has a false one beside it; give pairs whose captions say more."
        )
    seen = halves(encode, replace(collate, foils=0), rows, device, _BATCH)
    return {"foils": wins / total, **retrieval(*seen)}
