"""Several models to measure side by side: how they are named on the command line, and in what is printed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.options import BUNDLED, MODEL, ModelOptions, Several, check_device
from clipsight.cli.outcome import UsageError

if TYPE_CHECKING:
    from clipsight.session.lens import Lens

NONE = "none"
SeveralShown = Annotated[tuple[str, ...], Parameter(show_default=" ".join)]
"""Several values after one flag, or the flag repeated; the default is shown."""


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, kw_only=True)
class SeveralModels:
    """Which models to measure, one after the other."""

    model: SeveralShown = (BUNDLED,)
    """Models, named as for `clipsight explain`. One model with several --pretrained is measured with each of them."""

    pretrained: Several = ()
    """open_clip tags, or paths of weight files, as for `clipsight explain`: one for each --model in the same order,
    `none` for a model that needs none."""

    label: Several = ()
    """Names of the models in tables. Default to model name and weights."""

    device: str | None = None
    """Device to run on, such as `cpu`, `cuda`, `cuda:1` or `mps`. Defaults to an accelerator if one is available."""

    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Precision of the models. Similarities are always computed in float64."""

    quick_gelu: Annotated[bool | None, Parameter(negative="--no-quick-gelu")] = None
    """Use the QuickGELU activation of OpenAI's weights in all models, or not. Defaults to what the tag, configuration
    or file says."""

    trust_program: bool = False
    """Also load TorchScript archives, such as OpenAI's original release. These execute code."""

    def named(self) -> dict[str, ModelOptions]:
        """The models by label, in the order given.

        Raises:
            UsageError: counts that do not match, two models of one label, or an unknown device.
        """
        check_device(self.device)
        models, weights = self.model, self.pretrained
        if not models:
            raise UsageError(f"--model names none; leave it out for {BUNDLED}.")
        if len(weights) > 1 and len(models) == 1:
            models = models * len(weights)
        weights = weights or (NONE,) * len(models)
        if len(models) != len(weights):
            raise UsageError(
                f"{len(self.model)} --model and {len(self.pretrained)} --pretrained do not match; give one "
                f"--pretrained for each --model in the same order, `{NONE}` where there is none, or one --model with "
                "all the weights."
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
            raise UsageError(f"{len(labels)} --label for {len(chosen)} models; give one for each, or none.")
        if len(set(labels)) < len(labels):
            raise UsageError(
                f"two models have the same name ({', '.join(labels)}); tell them apart with --label."
            )
        return dict(zip(labels, chosen, strict=True))


MODELS = SeveralModels()


def opened(models: dict[str, ModelOptions]) -> Iterator[tuple[str, "Lens"]]:
    """(label, lens) of each; a model is loaded when its turn comes, so that only one is held at a time."""
    for label, one in models.items():
        yield label, one.open()
