"""What the tuning commands share: data, settings of the run, losses beside CAE, and where the run lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from clipsight.cli.outcome import Misuse
from clipsight.cli.progress import progress_bar

if TYPE_CHECKING:
    from clipsight.tune import Matching, TuneSettings, WeightedObjective
    from clipsight.tune.data.example import Examples


MODEL, DATA, OUTPUT, RUN, LOSSES = (
    Group(name, sort_key=place)
    for place, name in enumerate(("Model", "Data", "Output", "Training", "Losses beside it"), 1)
)
"""What options are listed under; a command's own come first."""


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, kw_only=True)
class TuneModel:
    """What is tuned."""

    model: str = "clipsight-tiny"
    """open_clip name, path of a weight file, `local-dir:PATH`, `hf-hub:org/name`, or `clipsight-tiny` (bundled)."""

    pretrained: str | None = None
    """open_clip tag, or path of a .pt or .safetensors file."""

    device: str | None = None
    """Where to compute: `cpu`, `cuda`. Without one: an accelerator if there is one."""

    quick_gelu: Annotated[bool | None, Parameter(negative="--no-quick-gelu")] = None
    """Activation, on or off. Without one: what the tag, the configuration or the file says."""


@Parameter(name="*", group=DATA)
@dataclass(frozen=True, kw_only=True)
class PairsChoice:
    """Which pairs are looked at."""

    data: str
    """Pairs of picture and caption: a .tsv, .csv or .jsonl file (columns filepath and title, or image and caption),
    `coco:CAPTIONS.json`, `shards:PATH-{000..099}.tar`, or `world:SEED:COUNT` (scenes of the emoji world)."""

    images: Path | None = None
    """Folder that pictures are named from. Without one: that of the file."""

    per_picture: int | None = None
    """At most so many captions of a picture."""

    limit: int | None = None
    """At most so many pairs."""

    cache: Path | None = None
    """Folder for roles and scenes that were made. Without one: `data` below --out."""

    processes: int = 1
    """How many parse captions and draw scenes."""

    def open(self, out: Path, roles: str = "none") -> "Examples":
        """The pairs, with a bar while they are opened."""
        from clipsight.tune import DataOptions, open_examples

        options = DataOptions(
            images=self.images,
            roles=roles,
            per_picture=self.per_picture,
            limit=self.limit,
            cache=self.cache or out / "data",
            processes=self.processes,
        )
        with progress_bar(self.data) as progress:
            return open_examples(self.data, options, progress)


@Parameter(name="*", group=DATA)
@dataclass(frozen=True, kw_only=True)
class DataChoice(PairsChoice):
    """What it is tuned on."""

    roles: str = "auto"
    """Which words are objects, attributes, relations: `auto` is what the data says, else `rules`; or `spacy`,
    `textblob`."""

    drop_bare_prepositions: Literal["none", "in_on", "all"] = "none"
    """Which prepositions that stand alone do not count as relations."""

    match: Literal["overlap", "first_bpe"] = "overlap"
    """How words become tokens; `first_bpe` is the way of the authors' later program."""

    crop: Literal["random", "center", "none"] = "random"
    """What of a picture a step sees; `random` is 0.9 to 1 of its area, never mirrored, `none` as it is evaluated."""

    def matching(self) -> "Matching":
        """How roles become tokens."""
        from clipsight.tune import Matching

        return Matching(match=self.match, drop_bare_prepositions=self.drop_bare_prepositions)


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class RunChoice:
    """How it is tuned. The defaults are those of ViT-B/32 on COCO."""

    epochs: float = 5.0
    """How often all pairs are seen."""
    steps: int | None = None
    """How many steps, instead of --epochs."""
    batch: int = 256
    """Pairs of a step, all processes together."""
    micro_batches: Annotated[int, Parameter(name=("--micro-batches", "--pieces"))] = 1
    """Run each batch in so many parts, with the gradient of the whole: less memory."""
    lr: float = 1e-6
    """Highest learning rate. The default is for ViT-B/32; `clipsight-tiny` takes 1e-4."""
    warmup: int = 50
    """Steps over which it grows."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How it goes on."""
    weight_decay: float = 0.2
    """Of matrices; norms, biases and the logit scale have none."""
    clip: float = 0.0
    """Longest gradient that is not shortened; 0 shortens none."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of the towers; losses and attributions are float32."""
    seed: int = 0
    """Of everything that is drawn."""
    train: Literal["full", "text", "vision", "layernorm", "lora"] = "full"
    """What is trained."""
    lora_rank: int = 4
    """Rank of the adapters of --train lora."""
    patch_dropout: float = 0.0
    """Share of the patches that each step leaves out."""
    calibrate: int = 20
    """Batches that weights left open are measured on."""
    workers: int = 0
    """Processes that make batches."""
    save_every: int = 100
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between rows of the log."""
    validate: int = 0
    """Pairs kept apart to be validated on."""
    validate_every: int = 100
    """Steps between validations."""
    patience: int = 0
    """Stop when retrieval was no better in so many validations in a row; 0 goes on."""
    max_minutes: float | None = None
    """Stop after so long; the same command goes on."""
    tensorboard: bool = False
    """Also write TensorBoard's files."""

    def settings(self) -> "TuneSettings":
        """As the Python API takes them."""
        from dataclasses import asdict

        from clipsight.tune import TuneSettings

        given = asdict(self)
        minutes = given.pop("max_minutes")
        return TuneSettings(**given, max_seconds=None if minutes is None else 60 * minutes)


@Parameter(name="*", group=LOSSES)
@dataclass(frozen=True, kw_only=True)
class LossChoice:
    """Losses beside the command's own."""

    negatives: Literal["none", "denominator", "own", "hinge"] = "none"
    """False captions: in the contrastive loss (NegCLIP), or each picture's own as a loss of their own, focal with
    smoothing (FSC-CLIP) or as a hinge."""

    negative_kinds: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (
        "swap",
        "replace",
        "shuffle",
    )
    """What they are: `swap`, `replace`, `add`, `shuffle`, single kinds such as `replace_rel`; `given`, the data's."""

    negatives_per_caption: int = 1
    """How many of each caption."""

    negatives_weight: float = 0.5
    """Of the loss of their own."""

    distill: float = 0.0
    """Weight of staying near the model before tuning, in features; 0 for none."""

    teacher: float = 1.0
    """Momentum of the model that is stayed near: 1 is frozen, 0.9996 follows slowly."""

    def terms(self) -> "list[WeightedObjective]":
        """The contrastive loss, and these."""
        from clipsight.tune import Contrastive, Distill, NegativeContrastive, OwnNegatives, WeightedObjective

        kinds, count = self.negative_kinds, self.negatives_per_caption
        if self.negatives == "denominator":
            made = [
                WeightedObjective(
                    objective=NegativeContrastive(foils=count, foil_kinds=kinds), weight=1.0, ramp=0.0
                )
            ]
        else:
            made = [WeightedObjective(objective=Contrastive(), weight=1.0, ramp=0.0)]
        if self.negatives in ("own", "hinge"):
            form = "focal" if self.negatives == "own" else "hinge"
            own = OwnNegatives(form=form, foils=count, foil_kinds=kinds)
            made.append(WeightedObjective(objective=own, weight=self.negatives_weight, ramp=0.0))
        if self.distill:
            made.append(
                WeightedObjective(objective=Distill(momentum=self.teacher), weight=self.distill, ramp=0.0)
            )
        return made


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class TuneOutput:
    """Where the run lies."""

    out: Path
    """Folder of the run: checkpoints, log.jsonl, and at the end the model. The same command goes on with it."""

    overwrite: bool = False
    """Replace a model that lies there."""

    json: bool = False
    """Print one JSON document on standard output and nothing else."""


def numbers_or_word(word: str) -> str | tuple[int, ...]:
    """`last`, `ends`, `all`, or block numbers with commas."""
    if word in ("last", "ends", "all"):
        return word
    try:
        return tuple(int(part) for part in word.split(","))
    except ValueError:
        raise Misuse(
            f"--layers {word} is none of last, ends, all, nor block numbers such as 0,5,11."
        ) from None
