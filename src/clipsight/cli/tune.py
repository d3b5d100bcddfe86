"""`clipsight tune`: fine-tune a model so that relations and attributes count."""

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

from clipsight.cli.outcome import DONE, FAILED, print_json, side_terminal, terminal
from clipsight.cli.tune_options import (
    DataChoice,
    LossChoice,
    RunChoice,
    TuneModel,
    TuneOutput,
    numbers_or_word,
)

if TYPE_CHECKING:
    from clipsight.tune import Term

MODEL, RUN, LOSSES = TuneModel(), RunChoice(), LossChoice()

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
        variant: whose attribution is raised: `ab` attention, `gcb` Grad-CAM, `pb` perturbation, `gb` gradients; several
            are added.
        loss: how far composition lags behind objects.
        weight: λ of each variant. Without one: such that its gradient is --gradient-ratio of the contrastive loss's.
        gradient_ratio: see --weight.
        ramp: share of the steps over which λ grows.
        rho: ρ of parity. margin: m of margin.
        normalise: scores as shares of the words' sum, of all positions', or as they are.
        reduce: a group's score is the mean or the sum of its tokens.
        object_side: `detach` lets no object lose; without one: `live` for ab, `detach` for the others.
        split_rt: relations and attributes each by itself.
        act: how signed scores are made positive.
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
        image_grad: let the gradient into the picture's feature.
        shuffled: the control: roles dealt out at random.
    """
    from clipsight.cli.outcome import Misuse
    from clipsight.tune import Cae, CaeOptions, Term

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
        terms.append(Term(objective=Cae(options), weight=share, ratio=gradient_ratio, ramp=ramp))
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
    data: DataChoice,
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
        zero: the model before tuning. tuned: after it, `local-dir:RUN/model`.
        out: folder of the model at the chosen place.
        pretrained: weights of `zero`.
        alphas: places, 0 the model before and 1 the tuned one.
        allowed: how far retrieval may fall.
        device: where to compute.
        overwrite: replace a model that lies there.
        json: print one JSON document.
    """
    from clipsight.tune.sweep import chosen_between

    with side_terminal().status("between the two ..."):
        sweep, folder = chosen_between(
            zero,
            tuned,
            data.open(out),
            out,
            pretrained=pretrained,
            alphas=alphas,
            allowed=allowed,
            device=device,
            overwrite=overwrite,
        )
    if json:
        print_json({**sweep.to_dict(), "folder": str(folder)})
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
    terminal().print(sweep.why, markup=False)
    terminal().print(f"Model: local-dir:{folder}", markup=False)
    return DONE


def soup(
    models: Annotated[tuple[str, ...], Parameter(show_default=False)],
    *,
    out: Path,
    model: str | None = None,
    overwrite: bool = False,
) -> int:
    """The mean of the weights of several tuned models, such as those of the four variants.

    Args:
        models: folders, or .pt or .safetensors files, of one architecture.
        out: folder of the mean.
        model: open_clip name of the architecture, for weights alone.
        overwrite: replace a model that lies there.
    """
    from clipsight.tune.averaging import average_checkpoints

    paths = [one.removeprefix("local-dir:") for one in models]
    made = average_checkpoints(paths, out, model=model, overwrite=overwrite)
    terminal().print(f"Model: local-dir:{made.folder}", markup=False)
    return DONE


def _train(
    model: TuneModel, data: DataChoice, run: RunChoice, output: TuneOutput, terms: "list[Term]"
) -> int:
    from clipsight.tune import TuneFacts, tune
    from clipsight.tune.data.crop import Crop

    examples = data.open(output.out)
    console = side_terminal()
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bars:
        task = bars.add_task("getting ready", total=None)

        def told(row: dict[str, Any]) -> None:
            bars.update(task, description=said(row), completed=row["step"], total=steps)

        settings = run.settings()
        steps = settings.steps
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
            on_row=told,
        )
    outcome, last = made.outcome, made.outcome.rows[-1] if made.outcome.rows else {}
    folder = None if made.folder is None else str(made.folder)
    if output.json:
        print_json(
            {
                "model": folder,
                "steps": outcome.step,
                "stopped": outcome.stopped,
                "skipped": outcome.skipped,
                "seconds": outcome.seconds,
                "weights": dict(made.weights),
                "last": last,
            }
        )
    else:
        show = terminal()
        show.print(said(last), markup=False)
        if outcome.skipped:
            show.print(
                f"{outcome.skipped} steps were left out: their loss or gradient was no number.", markup=False
            )
        if outcome.stopped:
            show.print(f"Stopped after {outcome.step} steps: {outcome.stopped}.", markup=False)
        if folder is not None:
            show.print(f"Model: local-dir:{folder} (README.md there says how to load it)", markup=False)
        elif not outcome.stopped:
            return FAILED
    return DONE


def said(row: dict[str, Any]) -> str:
    """A row of the log on one line: the losses, γ, valid share, gradient ratios, speed."""
    import math

    words = [f"step {row.get('step', 0)}", f"loss {row.get('loss', float('nan')):.3f}"]
    for name, value in row.items():
        if name.endswith(".log_gamma"):
            words.append(f"{name.partition('.')[0]} γ {math.exp(value):.2f}")
        elif name.endswith((".batch_top1", ".valid", ".gradient_ratio")):
            words.append(f"{name.replace('_', ' ').replace('.', ' ')} {value:.2f}")
        elif "." not in name and name.startswith(("contrastive", "cae", "own", "distill")):
            words.append(f"{name} {value:.3f}")
    if "seconds_per_step" in row:
        words.append(f"{row['seconds_per_step']:.2f} s a step")
    return " · ".join(words)


def _command() -> str:
    """The command line as it was typed."""
    import shlex
    import sys

    return shlex.join(["clipsight", *sys.argv[1:]]) if sys.argv[1:2] == ["tune"] else ""
