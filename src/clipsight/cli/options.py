"""Options that several commands share, and how their words become values of the Python API."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from clipsight.cli.outcome import Misuse, side_terminal
from clipsight.records import Malformed, text_rows

if TYPE_CHECKING:
    from clipsight.session.lens import Lens

Format = Literal["png", "npz", "json", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)
Repeated = Annotated[tuple[str, ...], Parameter(show_default=False)]
Templates = Annotated[tuple[str, ...], Parameter(show_default=" ".join)]
Resolution = Literal["native", "square"] | int | tuple[int, int]

DEFAULT_MODEL = "ViT-B-16"
DEFAULT_PRETRAINED = "openai"
BUNDLED = "clipsight-tiny"
BUNDLED_MODELS = (BUNDLED, "clipsight-tiny-cae")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model looks."""

    model: str = DEFAULT_MODEL
    """open_clip name, path of a weight file or of a model-config .json, `local-dir:PATH`, `hf-hub:org/name`,
    `hf:org/name`, or `clipsight-tiny` (bundled, offline)."""

    pretrained: str | None = None
    """open_clip tag, or path of a .pt, .bin or .safetensors file; `FILE#ema` takes its averaged weights. ViT-B-16
    without one takes `openai`."""

    device: str | None = None
    """Where to compute: `cpu`, `cuda`, `cuda:1`, `mps`. Without one: an accelerator if there is one."""

    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Precision of the model; scores are float32 always."""

    quick_gelu: Annotated[bool | None, Parameter(negative="--no-quick-gelu")] = None
    """Activation of OpenAI's weights, on or off. Without one: what the tag, the configuration or the file says."""

    trust_program: bool = False
    """Read TorchScript archives too, such as OpenAI's original release. They are programs."""

    def open(self) -> "Lens":
        """Load the model, with a sign of life on the terminal."""
        import clipsight

        pretrained = self.pretrained
        if pretrained is None and self.model == DEFAULT_MODEL:
            pretrained = DEFAULT_PRETRAINED
        local = (
            self.model in BUNDLED_MODELS
            or self.model.startswith("local-dir:")
            or any(Path(word.partition("#")[0]).is_file() for word in (self.model, pretrained) if word)
        )
        name = self.model if pretrained is None else f"{self.model} ({pretrained})"
        console = side_terminal()
        arguments = {
            "pretrained": pretrained,
            "device": self.device,
            "dtype": self.dtype,
            "quick_gelu": self.quick_gelu,
            "trust_program": self.trust_program,
        }
        if not local:
            # open_clip draws its own bar while it downloads; a spinner of ours would tear it.
            console.print(f"loading {name} ...", style="dim")
            return clipsight.load(self.model, **arguments)
        with console.status(f"loading {name} ..."):
            return clipsight.load(self.model, **arguments)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    out: Path | None = None
    """A folder, or for one picture a file name. Without one: the working directory."""

    format: Annotated[tuple[Format, ...], Parameter(show_default=False)] = ()
    """What to write; repeat it for several. Without one: what the name given to --out ends with, else png."""

    overwrite: bool = False
    """Replace files that exist; without it they are kept and the command fails."""


def gather_texts(given: Sequence[str], file: Path | None, *, option: str) -> tuple[str, ...]:
    """The texts of repeated options, then those of a file, one a line, empty lines skipped.

    Raises:
        Misuse: there are none.
    """
    texts = list(given)
    if file is not None:
        for row in text_rows(file, str(file)):
            if isinstance(row, Malformed):
                raise Misuse(f"{row}.")
            texts.append(row.text("caption"))
        if not texts:
            raise Misuse(f"{file} holds no text; write one a line.")
    if not all(text.strip() for text in texts):
        raise Misuse(f"a --{option} is blank; say what to look for.")
    if not texts:
        raise Misuse(
            f'no {option} was given; add --{option} "a dog", again for each further one, or --{option}s-file FILE.'
        )
    return tuple(texts)


def read_resolution(word: str) -> Resolution:
    """`native`, `square`, a short side such as `448`, or height by width such as `336x448`.

    Raises:
        Misuse: none of these.
    """
    if word in ("native", "square"):
        return word
    parts = word.lower().split("x")
    if all(part.isdecimal() and int(part) > 0 for part in parts) and len(parts) <= 2:
        return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))
    raise Misuse(
        f"--resolution {word} is not a size; it is native, square, a short side such as 448, or HxW such as 336x448."
    )


def read_contrast(word: str, names: Sequence[str]) -> str | list[str] | None:
    """The API's `contrast` from --contrast and --contrast-name.

    Raises:
        Misuse: both were given.
    """
    if names and word != "auto":
        raise Misuse(f"--contrast {word} and --contrast-name exclude each other; give one of the two.")
    return list(names) if names else None if word == "none" else word


def read_templates(words: Sequence[str]) -> str | list[str] | None:
    """The API's `templates`: `auto`, None for `none`, the id of a set, a sentence with `{}`, or several sentences.

    Raises:
        Misuse: an unknown set, or a sentence without `{}`.
    """
    from clipsight.language.prompts import resolve_templates

    if tuple(words) in (("auto",), ("none",)):
        return "auto" if words[0] == "auto" else None
    templates = words[0] if len(words) == 1 else list(words)
    try:
        resolve_templates(templates)
    except ValueError as error:
        raise Misuse(f"--templates: {error}") from error
    return templates


def read_method(name: str) -> str:
    """The id of a recipe, checked.

    Raises:
        Misuse: no recipe has it.
    """
    with side_terminal().status("starting ..."):
        from clipsight.features import get_recipe
    try:
        return get_recipe(name).id
    except ValueError as error:
        raise Misuse(f"--method: {error}") from error
