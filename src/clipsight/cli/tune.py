"""`clipsight tune`: fine-tune a model so that relations and attributes count."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from clipsight.cli.outcome import DONE, print_json, side_terminal, terminal
from clipsight.cli.tune_options import (
    DataChoice,
    LossChoice,
    PairsChoice,
    RunChoice,
    TuneModel,
    TuneOutput,
    numbers_or_word,
)

if TYPE_CHECKING:
    from clipsight.tune import TunedModel, WeightedObjective

MODEL, RUN, LOSSES = TuneModel(), RunChoice(), LossChoice()
FIGURES = {
    "batch_top1": "top-1",
    "foils_below": "false below",
    "valid": "count",
    "gradient_ratio": "gradient",
}
"""What a loss says of itself in the log -> what the line of progress calls it."""

Variants = Annotated[tuple[Literal["ab", "gcb", "pb", "gb"], ...], Parameter(consume_multiple=True)]


def cae(
    *,
    data: DataChoice,
    output: TuneOutput,
    variant: Variants,
    model: TuneModel = MODEL,
    run: RunChoice = RUN,
    losses: LossChoice = LOSSES,
    loss: Literal["parity", "ratio", "share", "linear", "margin", "kl"] = "parity",
    weight: Annotated[tuple[float, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    gradient_ratio: float = 0.3,
    ramp: float = 0.1,
    rho: float = 1.0,
    margin: float = 0.0,
    normalise: Literal["content", "all", "none"] = "content",
    reduce: Literal["mean", "sum"] = "mean",
    object_side: Literal["live", "detach"] | None = None,
    split_rt: bool = False,
    act: Literal["softplus", "relu", "abs"] | None = None,
    layers: str = "last",
    heads: Literal["mean", "max", "per_head"] = "mean",
    rollout: bool = False,
    layer: int = -1,
    alpha_grad: bool = False,
    elementwise: bool = False,
    gb: Literal["norm", "input_abs", "input_pos", "fd"] = "norm",
    eta: float = 1e-2,
    pb_op: Literal["zero_emb", "mask_token", "drop", "key_block"] = "zero_emb",
    pb_score: Literal["similarity", "text"] = "similarity",
    granularity: Literal["group", "word_sample", "words"] = "group",
    image_grad: bool = False,
    shuffled: bool = False,
) -> int:
    """Raise the attribution of relations and attributes while tuning: CLIP-CAE, reconstructed.

    The losses are clipsight's reading of the paper, whose program is not public. The tuned model lies in OUT/model and
    loads in clipsight and open_clip.

    Args:
        variant: Whose attribution is raised: `ab` attention, `gcb` Grad-CAM, `pb` perturbation, `gb` gradients; several
            are added.
        loss: How far composition lags behind objects.
        weight: λ of each variant. Without one: such that its gradient is --gradient-ratio of the contrastive loss's.
        gradient_ratio: See --weight.
        ramp: Share of the steps over which λ grows.
        rho: With --loss parity, how many times the objects' score composition is to reach.
        margin: With --loss margin, by how much composition is to lead.
        normalise: Scores as shares of the words' sum, of all positions', or as they are.
        reduce: A group's score is the mean or the sum of its tokens.
        object_side: `detach` lets no object lose. Without one: `live` for ab, `detach` for the others.
        split_rt: Relations and attributes each by itself.
        act: How signed scores are made positive. Without one: what fits the variant.
        layers: ab: `last`, `ends`, `all`, or block numbers with commas.
        heads: ab: their mean, maximum, or each by itself.
        rollout: ab: attention rolled out.
        layer: gcb: block, negative from the end.
        alpha_grad: gcb: second order.
        elementwise: gcb: each token with its own gradient.
        gb: gb: length of the gradient, its product with the input, or a finite difference (first order).
        eta: gb fd: size of the difference.
        pb_op: pb: what taking words out means.
        pb_score: pb: similarity lost to the picture, or change of the text itself.
        granularity: pb, gb fd: groups of words, one drawn word of each group, or every word.
        image_grad: Let the gradient into the picture's feature.
        shuffled: The control: roles dealt out at random.
    """
    from clipsight.cli.outcome import Misuse
    from clipsight.tune import Cae, CaeOptions, WeightedObjective

    if weight and len(weight) != len(variant):
        raise Misuse(
            f"--weight was given {len(weight)} times for {len(variant)} variants; give one for each, or none."
        )
    weights: tuple[float | None, ...] = weight or (None,) * len(variant)
    terms = losses.terms()
    for one, share in zip(variant, weights, strict=True):
        options = CaeOptions(
            variant=one,
            loss=loss,
            rho=rho,
            margin=margin,
            normalise=normalise,
            reduce=reduce,
            object_side=object_side,
            split_rt=split_rt,
            act=act,
            layers=numbers_or_word(layers),
            heads=heads,
            rollout=rollout,
            layer=layer,
            alpha_grad=alpha_grad,
            elementwise=elementwise,
            gb=gb,
            eta=eta,
            pb_op=pb_op,
            pb_score=pb_score,
            granularity=granularity,
            image_grad=image_grad,
            shuffled=shuffled,
            seed=run.seed,
        )
        terms.append(WeightedObjective(objective=Cae(options), weight=share, ratio=gradient_ratio, ramp=ramp))
    return _train(model, data, run, output, terms)


def contrastive(
    *,
    data: DataChoice,
    output: TuneOutput,
    model: TuneModel = MODEL,
    run: RunChoice = RUN,
    losses: LossChoice = LOSSES,
) -> int:
    """Tune with the contrastive loss, with false captions or a teacher where asked: what CAE is compared with."""
    return _train(model, data, run, output, losses.terms())


def wise(
    zero: str,
    tuned: str,
    *,
    data: PairsChoice,
    out: Path,
    pretrained: str | None = None,
    alphas: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    allowed: float = 0.01,
    device: str | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Between a model and its tuned self (WiSE-FT): the best place at which retrieval does not suffer, exported.

    Of the pairs given, which neither model should have been trained on, two figures are taken at each place: the share
    of captions told from a false one, and retrieval, which may fall by --allowed.

    Args:
        zero: The model before tuning.
        tuned: The model after it, `local-dir:RUN/model`.
        out: Folder of the model at the chosen place.
        pretrained: Weights of ZERO: an open_clip tag, or path of a file.
        alphas: Places that are tried, 1 the tuned model; 0, the model before, always is.
        allowed: How far retrieval, from 0 to 1, may fall.
        device: Where to compute: `cpu`, `cuda`. Without one: an accelerator if there is one.
        overwrite: Replace a model that lies there.
        json: Print one JSON document on standard output and nothing else.
    """
    from clipsight.tune.sweep import chosen_between

    pairs = data.open(out)
    with side_terminal().status("between the two ..."):
        sweep, folder = chosen_between(
            zero,
            tuned,
            pairs,
            out,
            pretrained=pretrained,
            alphas=alphas,
            allowed=allowed,
            device=device,
            overwrite=overwrite,
        )
    if json:
        print_json({"model": str(folder), **sweep.to_dict()})
        return DONE
    from rich.table import Table

    names = list(sweep.rows[0].scores)
    table = Table(
        "α", *names, title="from the model before tuning (0) to the tuned one (1)", title_justify="left"
    )
    for row in sweep.rows:
        mark = " ←" if row.alpha == sweep.chosen else ""
        table.add_row(f"{row.alpha:.2f}{mark}", *(f"{row.scores[name]:.4f}" for name in names))
    terminal().print(table)
    terminal().print("foils: captions that score above a false one; i2t, t2i: the right one found first")
    terminal().print(sweep.why, markup=False)
    terminal().print(f"Model: local-dir:{folder}", markup=False)
    return DONE


def soup(
    models: Annotated[tuple[str, ...], Parameter(show_default=False)],
    *,
    out: Path,
    model: str | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """The mean of the weights of several tuned models, such as those of the four variants.

    Args:
        models: Folders, or .pt or .safetensors files, of one architecture.
        out: Folder of the mean.
        model: open_clip name of the architecture, for weights alone.
        overwrite: Replace a model that lies there.
        json: Print one JSON document on standard output and nothing else.
    """
    from clipsight.tune.averaging import average_checkpoints

    made = average_checkpoints(models, out, model=model, overwrite=overwrite)
    if json:
        print_json({"model": str(made.folder), "of": list(models)})
    else:
        terminal().print(f"Model: local-dir:{made.folder}", markup=False)
    return DONE


def _train(
    model: TuneModel, data: DataChoice, run: RunChoice, output: TuneOutput, terms: "list[WeightedObjective]"
) -> int:
    from clipsight.tune import TuneFacts, tune
    from clipsight.tune.data.crop import Crop
    from clipsight.tune.run import launched

    _, group = launched(model.device)  # what is missing is said before minutes are spent on data
    settings = run.settings()
    examples = data.open(output.out, data.roles)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=side_terminal(),
        transient=True,
        disable=group.rank > 0,
    )
    with bars:
        task = bars.add_task("getting ready", total=settings.steps_of(len(examples)))
        made = tune(
            model.model,
            examples,
            terms,
            output.out,
            settings=settings,
            pretrained=model.pretrained,
            quick_gelu=model.quick_gelu,
            device=model.device,
            crop=Crop(kind=data.crop),
            matching=data.matching(),
            facts=TuneFacts(base="", command=_command()),
            overwrite=output.overwrite,
            on_row=lambda row: bars.update(task, description=said(row), completed=row["step"]),
        )
    if group.rank == 0:
        (_print_document if output.json else _tell)(made)
    return DONE


def _print_document(made: "TunedModel") -> None:
    outcome = made.outcome
    print_json(
        {
            "model": None if made.folder is None else str(made.folder),
            "steps": outcome.step,
            "stopped": outcome.stopped,
            "skipped": outcome.skipped,
            "seconds": outcome.seconds,
            "weights": dict(made.weights),
            "last": outcome.rows[-1] if outcome.rows else {},
        }
    )


def _tell(made: "TunedModel") -> None:
    outcome, show = made.outcome, terminal()
    if outcome.rows:
        show.print(said(outcome.rows[-1]), markup=False)
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in made.weights.items())
    show.print(f"Weights of the losses: {weights}", markup=False)
    if outcome.skipped:
        show.print(
            f"{outcome.skipped} steps were left out: their loss or gradient was no number.", markup=False
        )
    if made.folder is None:
        show.print(
            f"Stopped after {outcome.step} steps: {outcome.stopped}. There is no model yet; the same command goes on.",
            markup=False,
        )
    else:
        if outcome.stopped:
            show.print(f"Ended after {outcome.step} steps: {outcome.stopped}.", markup=False)
        show.print(f"Model: local-dir:{made.folder} (README.md there says how to load it)", markup=False)


def said(row: dict[str, Any]) -> str:
    """A row of the log on one line: the losses, each with what it says of itself, validation, speed."""
    words = [f"step {row['step']}"]
    if "loss" in row:
        words.append(f"loss {row['loss']:.3f}")
    about: dict[str, list[str]] = {}
    for name, value in row.items():
        owner, dot, figure = name.partition(".")
        if owner == "eval":
            words.append(f"{figure} {value:.2f}")
        elif dot:
            told = about.setdefault(owner, [])
            if figure == "log_gamma":
                told.append(f"γ {math.exp(value):.2f}")
            elif figure in FIGURES:
                told.append(f"{FIGURES[figure]} {value:.2f}")
    for owner, told in about.items():
        if owner in row:
            words.append(f"{owner} {row[owner]:.3f}" + (f" ({', '.join(told)})" if told else ""))
    if "seconds_per_step" in row:
        words.append(f"{row['seconds_per_step']:.2f} s a step")
    return " · ".join(words)


def _command() -> str:
    """The command line as it was typed."""
    import shlex
    import sys

    return shlex.join(["clipsight", *sys.argv[1:]]) if sys.argv[1:2] == ["tune"] else ""
