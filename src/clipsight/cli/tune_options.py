"""What the tuning commands share. The options themselves are those of the Python API, in `clipsight.tune`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from clipsight.cli.progress import progress_bar
from clipsight.tune.data.options import DataOptions, Matching, PairOptions
from clipsight.tune.loss_options import LossOptions
from clipsight.tune.settings import TuneSettings

if TYPE_CHECKING:
    from clipsight.tune.data.example import Examples

CAE, MODEL, DATA, OUTPUT, RUN, LOSSES = (
    Group(name, sort_key=place)
    for place, name in enumerate(("Loss", "Model", "Data", "Output", "Training", "Additional losses"))
)
"""What options are listed under; a command's own come first."""


def _listed(group: Group) -> Parameter:
    """A dataclass of options as options of the command line."""
    return Parameter(name="*", group=group)


@dataclass(frozen=True, kw_only=True)
class RunSettings(TuneSettings):
    """`TuneSettings`, with a flag that turns off what is on, and a flag's former name."""

    micro_batches: Annotated[int, Parameter(name=("--micro-batches", "--pieces"))] = 1
    """Split each batch into this many micro-batches to save memory. The gradient is that of the whole batch."""

    train_scale: Annotated[bool, Parameter(negative="--no-train-scale")] = True
    """Train the logit scale too, or not."""


Settings = Annotated[RunSettings, _listed(RUN)]
Losses = Annotated[LossOptions, _listed(LOSSES)]
Matches = Annotated[Matching, _listed(DATA)]
Pairs = Annotated[PairOptions, _listed(DATA)]
Data = Annotated[DataOptions, _listed(DATA)]

DataName = Annotated[
    str,
    Parameter(
        group=DATA,
        help="Pairs of image and caption: a .tsv, .csv or .jsonl file with columns filepath and title or image and "
        "caption, `coco:CAPTIONS.json`, `shards:PATH-{000..099}.tar`, or `world:SEED:COUNT` for emoji-world scenes.",
    ),
]
CropKind = Annotated[
    Literal["random", "center", "none"],
    Parameter(
        group=DATA,
        help="How training images are cropped. `random` keeps 0.9 to 1 of the area and never mirrors, `none` uses the "
        "preprocessing of evaluation.",
    ),
]
Minutes = Annotated[float | None, Parameter(group=RUN, help="Like --max-seconds, in minutes.")]


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, kw_only=True)
class TuneModel:
    """What is tuned."""

    model: str = "clipsight-tiny"
    """open_clip name, path of a weight file, `local-dir:PATH`, `hf-hub:org/name`, or `clipsight-tiny` (bundled)."""

    pretrained: str | None = None
    """open_clip tag, or path of a .pt or .safetensors file."""

    device: str | None = None
    """Device to run on, such as `cpu` or `cuda`. Defaults to an accelerator if one is available."""

    quick_gelu: Annotated[bool | None, Parameter(negative="--no-quick-gelu")] = None
    """Use the QuickGELU activation, or not. Defaults to what the tag, configuration or file says."""


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class TuneOutput:
    """Where the run goes."""

    out: Path
    """Folder of the run: checkpoints, log.jsonl, and finally the model. The same command continues a run."""

    overwrite: bool = False
    """Replace a model that is already there."""

    json: bool = False
    """Print one JSON document to standard output, and nothing else."""


def open_pairs(name: str, options: PairOptions, out: Path, *, roles: str = "none") -> "Examples":
    """The pairs, with a bar while they are opened.

    Args:
        name: of the data. options: where roles are not among them, `roles` says which are read.
        out: folder of the run; what is slow to make is kept there unless `options.cache` says otherwise.
    """
    from clipsight.tune.data.opening import open_examples

    if not isinstance(options, DataOptions):
        options = DataOptions(roles=roles, **vars(options))
    with progress_bar(name) as progress:
        return open_examples(name, replace(options, cache=options.cache or out / "data"), progress)
