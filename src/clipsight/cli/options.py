"""Options that several commands share, and how their words become values of the Python API."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import Group, Parameter

from clipsight.cli.outcome import UsageError, plain_data, print_json, say
from clipsight.cli.progress import downloading, waiting

if TYPE_CHECKING:
    from clipsight.session.lens import Lens

Format = Literal["png", "npz", "json", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)
Resolution = Literal["native", "square"] | int | tuple[int, int]

MODEL, OUTPUT = Group("Model", sort_key=1), Group("Output", sort_key=2)
"""What options are listed under; a command's own come first."""

Images = Annotated[
    tuple[str, ...],
    Parameter(
        show_default=False,
        help='Image files, folders, or patterns such as "photos/*.jpg". A folder stands for the images in it.',
    ),
]
Several = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]
"""Several values after one flag, or the flag repeated."""
Templates = Annotated[
    tuple[str, ...],
    Parameter(
        consume_multiple=True,
        show_default=" ".join,
        help="Prompt templates: `auto` for those that suit the model, `none`, a set such as IN80, or sentences with {} "
        "where the text goes.",
    ),
]
ResolutionWord = Annotated[
    str,
    Parameter(
        help="`native` keeps the aspect ratio and `square` stretches the image, both at the model's own size. A number "
        "such as 448 sets the short side, 336x448 sets height and width.",
    ),
]
Method = Annotated[
    str, Parameter(help="How patch features are computed. `clipsight methods` lists the methods.")
]

DEFAULT_MODEL = "ViT-B-16"
DEFAULT_PRETRAINED = "openai"
BUNDLED = "clipsight-tiny"
BUNDLED_MODELS = (BUNDLED, "clipsight-tiny-cae")
_NO_DEVICES = {"gpu": "cuda", "nvidia": "cuda", "rocm": "cuda", "amd": "cuda", "metal": "mps", "apple": "mps"}
"""Names that people type, and what torch calls the device."""


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model to use."""

    model: str = DEFAULT_MODEL
    """open_clip name, path of a weight file or a model-config .json, `local-dir:PATH`, `hf-hub:org/name`,
    `hf:org/name`, or `clipsight-tiny` (bundled, works offline)."""

    pretrained: str | None = None
    """open_clip tag, or path of a .pt, .bin or .safetensors file; `FILE#ema` selects its averaged weights. Defaults to
    `openai` for ViT-B-16."""

    device: str | None = None
    """Device to run on, such as `cpu`, `cuda`, `cuda:1` or `mps`. Defaults to an accelerator if one is available."""

    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Precision of the model. Scores are always float32."""

    quick_gelu: Annotated[bool | None, Parameter(negative="--no-quick-gelu")] = None
    """Use the QuickGELU activation of OpenAI's weights, or not. Defaults to what the tag, configuration or file
    says."""

    trust_program: bool = False
    """Also load TorchScript archives, such as OpenAI's original release. These execute code."""

    def open(self) -> "Lens":
        """Load the model, and show on the terminal that this is going on.

        Raises:
            UsageError: no such device.
        """
        check_device(self.device)
        pretrained = self.pretrained
        if pretrained is None and self.model == DEFAULT_MODEL:
            pretrained = DEFAULT_PRETRAINED
        local = (
            self.model in BUNDLED_MODELS
            or self.model.startswith("local-dir:")
            or any(Path(word.partition("#")[0]).is_file() for word in (self.model, pretrained) if word)
        )
        name = self.model if pretrained is None else f"{self.model} ({pretrained})"
        with waiting():
            import clipsight

            load = clipsight.load
        # open_clip draws its own bar while it downloads; a spinner would tear it.
        with waiting(f"loading {name}") if local else downloading(f"loading {name}"):
            return load(
                self.model,
                pretrained=pretrained,
                device=self.device,
                dtype=self.dtype,
                quick_gelu=self.quick_gelu,
                trust_program=self.trust_program,
            )


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    out: Path | None = None
    """Folder for the results, or a file name if there is one image. Defaults to the working directory."""

    format: Annotated[tuple[Format, ...], Parameter(show_default=False)] = ()
    """File formats to write. Defaults to the suffix of the file name given to --out, else png."""

    overwrite: bool = False
    """Replace existing files. Without it they are kept and the command fails."""

    json: bool = False
    """Print one JSON document to standard output, and nothing else."""

    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"))] = False
    """Print the details of every image. With a single image they are always printed."""


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class SheetOutput(OutputOptions):
    """Where results go that are a sheet to look at or plain data."""

    format: Annotated[tuple[Literal["png", "json"], ...], Parameter(show_default=False)] = ()
    """File formats to write. Defaults to the suffix of the file name given to --out, else png."""


SHEET_FORMATS = ("png", "json")


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class JsonOutput:
    """Where a document goes that is printed for people unless JSON is asked for."""

    out: Path | None = None
    """Also write the JSON document to this .json file."""

    overwrite: bool = False
    """Replace an existing file. Without it the file is kept and the command fails."""

    json: bool = False
    """Print one JSON document to standard output, and nothing else."""

    def check(self) -> None:
        """Refuse, before the work, a file that could not be written.

        Raises:
            UsageError: a name that does not end with .json. FileExistsError: the file exists.
        """
        check_json_file(self.out)
        if self.out is not None:
            from clipsight.results import check_writable

            self.out.parent.mkdir(parents=True, exist_ok=True)
            check_writable(self.out, overwrite=self.overwrite)

    def write(self, data: Any) -> bool:
        """Write and print the document as asked; whether it was printed."""
        if self.out is not None:
            from clipsight.results import atomic_write, json_bytes

            with atomic_write(self.out, overwrite=self.overwrite) as file:
                file.write(json_bytes(plain_data(data)))
        if self.json:
            print_json(data)
        return self.json

    def say_where(self) -> None:
        """Print where the document was written, if it was."""
        if self.out is not None:
            say(f"Written to {self.out.resolve()}")


def check_json_file(out: Path | None) -> None:
    """Refuse a file name for JSON that does not say so.

    Raises:
        UsageError: it does not end with .json.
    """
    if out is not None and out.suffix.lower() != ".json":
        raise UsageError(f"--out {out} does not end with .json, the format it is written in.")


def check_device(name: str | None) -> None:
    """Refuse names of devices that torch does not know, with the one that was meant.

    Raises:
        UsageError: such a name.
    """
    kind, colon, index = (name or "").lower().partition(":")
    if kind in _NO_DEVICES:
        meant = _NO_DEVICES[kind] + colon + index
        raise UsageError(
            f"--device {name} is not a device; type --device {meant}, or leave --device out to use an accelerator if "
            "one is available."
        )


def read_resolution(word: str) -> Resolution:
    """`native`, `square`, a short side such as `448`, or height by width such as `336x448`.

    Raises:
        UsageError: none of these.
    """
    if word in ("native", "square"):
        return word
    parts = word.lower().split("x")
    if all(part.isdecimal() and int(part) > 0 for part in parts) and len(parts) <= 2:
        return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))
    raise UsageError(
        f"--resolution {word} is not a size; give native, square, a short side such as 448, or height and width such "
        "as 336x448."
    )


def read_templates(words: Sequence[str]) -> str | list[str] | None:
    """The API's `templates`: `auto`, None for `none`, the id of a set, a sentence with `{}`, or several sentences.

    Raises:
        UsageError: an unknown set, or a sentence without `{}`.
    """
    from clipsight.language.prompts import resolve_templates

    if tuple(words) in (("auto",), ("none",)):
        return "auto" if words[0] == "auto" else None
    templates = words[0] if len(words) == 1 else list(words)
    try:
        resolve_templates(templates)
    except ValueError as error:
        raise UsageError(f"--templates: {error}") from error
    return templates


def read_method(name: str) -> str:
    """The id of a recipe, checked.

    Raises:
        UsageError: there is no such recipe.
    """
    with waiting():
        from clipsight.features import get_recipe
    try:
        return get_recipe(name).id
    except ValueError as error:
        raise UsageError(f"--method: {error}") from error
