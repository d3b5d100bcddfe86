"""Several models to measure side by side: how they are named on the command line, and in what is printed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.options import BUNDLED, ModelOptions
from clipsight.cli.outcome import Misuse

if TYPE_CHECKING:
    from clipsight.session.lens import Lens

NONE = "none"
Several = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=" ".join)]
SeveralOrNone = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SeveralModels:
    """Which models are measured, one after the other."""

    model: Several = (BUNDLED,)
    """As for `clipsight explain`; repeat it for several. One model with several --pretrained is that model with each of
    these weights."""

    pretrained: SeveralOrNone = ()
    """open_clip tag, or path of a weight file, as for `clipsight explain`; one for each --model in their order, `none`
    for a model that needs no such word."""

    label: SeveralOrNone = ()
    """What each model is called in tables; its name and weights where it is left out."""

    device: str | None = None
    """Where to compute: `cpu`, `cuda`, `cuda:1`, `mps`. Without one: an accelerator if there is one."""

    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Precision of the models; similarities are taken in float64 always."""

    quick_gelu: Annotated[bool | None, Parameter(negative="--no-quick-gelu")] = None
    """Activation of OpenAI's weights, on or off, for all models. Without one: what the tag, the configuration or the
    file says."""

    trust_program: bool = False
    """Read TorchScript archives too, such as OpenAI's original release. They are programs."""

    def named(self) -> dict[str, ModelOptions]:
        """The models by label, in the order given.

        Raises:
            Misuse: numbers of names that do not fit, or two models of one label.
        """
        models, weights = self.model, self.pretrained
        if not models:
            raise Misuse(f"--model names none; leave it out for {BUNDLED}.")
        if len(weights) > 1 and len(models) == 1:
            models = models * len(weights)
        weights = weights or (NONE,) * len(models)
        if len(models) != len(weights):
            raise Misuse(
                f"{len(self.model)} --model and {len(self.pretrained)} --pretrained do not fit; give one --pretrained "
                f"for each --model in their order, `{NONE}` where there is none, or one --model with all the weights."
            )
        chosen = [
            ModelOptions(
                model=model,
                pretrained=None if weight == NONE else weight,
                device=self.device,
                dtype=self.dtype,
                quick_gelu=self.quick_gelu,
                trust_program=self.trust_program,
            )
            for model, weight in zip(models, weights, strict=True)
        ]
        labels = self.label or tuple(
            one.model if one.pretrained is None else f"{one.model} ({one.pretrained})" for one in chosen
        )
        if len(labels) != len(chosen):
            raise Misuse(f"{len(labels)} --label for {len(chosen)} models; give one for each, or none.")
        if len(set(labels)) < len(labels):
            raise Misuse(f"two models are called alike ({', '.join(labels)}); tell them apart with --label.")
        return dict(zip(labels, chosen, strict=True))


MODELS = SeveralModels()


def opened(models: dict[str, ModelOptions]) -> Iterator[tuple[str, "Lens"]]:
    """(label, lens) of each; a model is loaded when its turn comes, so that one at a time is held."""
    for label, one in models.items():
        yield label, one.open()
