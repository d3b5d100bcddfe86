"""`clipsight tune wise` and `clipsight tune soup`: models between models."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clipsight.cli.options import check_device
from clipsight.cli.outcome import SUCCESS, print_json, say, terminal
from clipsight.cli.progress import waiting
from clipsight.cli.registry import verb
from clipsight.cli.tune_options import DataName, Pairs, open_pairs
from clipsight.tune.data.options import PairOptions

PAIRS = PairOptions()


@verb(3, group="tune")
def wise(
    zero: str,
    tuned: str,
    *,
    data: DataName,
    out: Path,
    pairs: Pairs = PAIRS,
    pretrained: str | None = None,
    alphas: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    allowed: float = 0.01,
    device: str | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Interpolate between a model and its tuned self (WiSE-FT), as far as retrieval does not suffer.

    Two figures are measured at each point, on pairs that neither model should have been trained on: the share of
    captions that score above a false one, and retrieval, which may fall by --allowed. The best model is exported.

    Args:
        zero: The model before tuning.
        tuned: The model after tuning, `local-dir:RUN/model`.
        out: Folder for the chosen model.
        pretrained: Weights of ZERO: an open_clip tag, or the path of a file.
        alphas: Points to try, from 0, the model before tuning, to 1, the tuned model. 0 is always tried.
        allowed: How far retrieval, from 0 to 1, may fall.
        device: Device to run on, such as `cpu` or `cuda`. Defaults to an accelerator if one is available.
        overwrite: Replace a model that is already there.
        json: Print one JSON document to standard output, and nothing else.
    """
    check_device(device)
    with waiting():
        from clipsight.tune.sweep import chosen_between

    examples = open_pairs(data, pairs, out)
    with waiting("measuring the models in between"):
        sweep, folder = chosen_between(
            zero,
            tuned,
            examples,
            out,
            pretrained=pretrained,
            alphas=alphas,
            allowed=allowed,
            device=device,
            overwrite=overwrite,
        )
    if json:
        print_json({"model": str(folder), **sweep.to_dict()})
        return SUCCESS
    from rich.table import Table

    names = list(sweep.rows[0].scores)
    table = Table(
        "α", *names, title="from the model before tuning (0) to the tuned one (1)", title_justify="left"
    )
    for row in sweep.rows:
        mark = " ←" if row.alpha == sweep.chosen else ""
        table.add_row(f"{row.alpha:.2f}{mark}", *(f"{row.scores[name]:.4f}" for name in names))
    terminal().print(table)
    say("foils: captions that score above a false one; i2t, t2i: the right match ranks first")
    say(sweep.why)
    say(f"Model: local-dir:{folder}")
    return SUCCESS


@verb(4, group="tune")
def soup(
    models: Annotated[tuple[str, ...], Parameter(show_default=False)],
    *,
    out: Path,
    model: str | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Average the weights of several tuned models, such as those of the four variants.

    Args:
        models: Folders, or .pt or .safetensors files, of one architecture.
        out: Folder for the average.
        model: open_clip name of the architecture, for weight files.
        overwrite: Replace a model that is already there.
        json: Print one JSON document to standard output, and nothing else.
    """
    with waiting("averaging"):
        from clipsight.tune.averaging import average_checkpoints

        made = average_checkpoints(models, out, model=model, overwrite=overwrite)
    if json:
        print_json({"model": str(made.folder), "of": list(models)})
    else:
        say(f"Model: local-dir:{made.folder}")
    return SUCCESS
