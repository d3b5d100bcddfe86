"""`clipsight tune`: fine-tune a model so that relations and attributes count."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clipsight.cli.options import check_device
from clipsight.cli.outcome import SUCCESS, UsageError
from clipsight.cli.progress import bars, waiting
from clipsight.cli.registry import verb, verb_group
from clipsight.cli.tune_options import (
    CAE,
    CropKind,
    Data,
    DataName,
    Losses,
    Matches,
    Minutes,
    RunSettings,
    Settings,
    TuneModel,
    TuneOutput,
    open_pairs,
)
from clipsight.cli.tune_report import command_line, print_document, row_line, tell
from clipsight.tune.data.options import DataOptions, Matching
from clipsight.tune.loss_options import LossOptions
from clipsight.tune.objectives.cae_options import CaeLossOptions, CaeOptions, Variant
from clipsight.tune.settings import TuneSettings

if TYPE_CHECKING:
    from clipsight.tune import WeightedObjective

TUNE = verb_group("tune", 120, "Fine-tune a model so that relations and attributes count.")
DATA, MATCHING, SETTINGS, LOSSES, CAE_LOSS = (
    DataOptions(), Matching(), RunSettings(), LossOptions(), CaeLossOptions(),
)  # fmt: skip

Variants = tuple[Variant, ...]
Weights = Annotated[tuple[float, ...], Parameter(show_default=False)]


@verb(1, group=TUNE)
def cae(
    *,
    data: DataName,
    output: TuneOutput,
    variant: Variants,
    weight: Weights = (),
    gradient_ratio: float = 0.3,
    ramp: float = 0.1,
    loss: Annotated[CaeLossOptions, Parameter(name="*", group=CAE)] = CAE_LOSS,
    model: TuneModel = TuneModel(),
    pairs: Data = DATA,
    matching: Matches = MATCHING,
    crop: CropKind = "random",
    settings: Settings = SETTINGS,
    max_minutes: Minutes = None,
    losses: Losses = LOSSES,
) -> int:
    """Train the attribution of relations and attributes: CLIP-CAE, reconstructed.

    The losses are clipsight's reading of the paper, whose code is not public. The tuned model is written to OUT/model
    and loads in clipsight and open_clip.

    Args:
        variant: Attributions to train: attention (`ab`), Grad-CAM (`gcb`), perturbation (`pb`) or gradients (`gb`).
            The losses of several are added.
        weight: Weight λ of each variant. By default it is chosen so that the loss's gradient is --gradient-ratio times
            that of the contrastive loss.
        gradient_ratio: See --weight.
        ramp: Fraction of the steps over which λ grows from 0.
    """
    if weight and len(weight) != len(variant):
        raise UsageError(
            f"--weight was given {len(weight)} times for {len(variant)} variants; give one for each, or none."
        )

    def terms() -> "list[WeightedObjective]":
        from clipsight.tune import Cae, WeightedObjective

        made = losses.terms()
        for one, share in zip(variant, weight or (None,) * len(variant), strict=True):
            objective = Cae(CaeOptions(variant=one, seed=settings.seed, **vars(loss)))
            made.append(WeightedObjective(objective=objective, weight=share, ratio=gradient_ratio, ramp=ramp))
        return made

    return _train(model, data, pairs, matching, crop, _timed(settings, max_minutes), output, terms)


@verb(2, group=TUNE)
def contrastive(
    *,
    data: DataName,
    output: TuneOutput,
    model: TuneModel = TuneModel(),
    pairs: Data = DATA,
    matching: Matches = MATCHING,
    crop: CropKind = "random",
    settings: Settings = SETTINGS,
    max_minutes: Minutes = None,
    losses: Losses = LOSSES,
) -> int:
    """Train with the contrastive loss, optionally with hard negatives or distillation: the baseline for CAE."""
    return _train(model, data, pairs, matching, crop, _timed(settings, max_minutes), output, losses.terms)


def _timed(settings: TuneSettings, minutes: float | None) -> TuneSettings:
    if minutes is None:
        return settings
    if settings.max_seconds is not None:
        raise UsageError("--max-minutes and --max-seconds exclude each other; give one of the two.")
    return replace(settings, max_seconds=60 * minutes)


def _train(
    model: TuneModel,
    data: str,
    pairs: DataOptions,
    matching: Matching,
    crop: CropKind,
    settings: TuneSettings,
    output: TuneOutput,
    terms: "Callable[[], list[WeightedObjective]]",
) -> int:
    check_device(model.device)
    with waiting():
        from clipsight.tune import TuneFacts, tune
        from clipsight.tune.data.crop import Crop
        from clipsight.tune.run import launched

        _, group = launched(model.device)  # missing packages are reported before minutes are spent on data
        losses = terms()
    examples = open_pairs(data, pairs, output.out)
    with bars(silent=group.rank > 0) as progress:
        task = progress.add_task("preparing", total=settings.steps_of(len(examples)))
        made = tune(
            model.model,
            examples,
            losses,
            output.out,
            settings=settings,
            pretrained=model.pretrained,
            quick_gelu=model.quick_gelu,
            device=model.device,
            crop=Crop(kind=crop),
            matching=matching,
            facts=TuneFacts(base="", command=command_line()),
            overwrite=output.overwrite,
            on_row=lambda row: progress.update(task, description=row_line(row), completed=row["step"]),
        )
    if group.rank == 0:
        (print_document if output.json else tell)(made)
    return SUCCESS
