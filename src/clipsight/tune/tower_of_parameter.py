"""Which tower a parameter of an open_clip model belongs to, by its name."""

from typing import Literal

from torch import nn

from clipsight.errors import Unsupported
from clipsight.towers.families import is_transformers

Side = Literal["text", "vision", "scale", "other"]
_TEXT = frozenset(
    (
        "text",
        "transformer",
        "token_embedding",
        "positional_embedding",
        "ln_final",
        "text_projection",
        "cls_emb",
    )
)
_SCALE = frozenset(("logit_scale", "logit_bias"))


def tower_of_parameter(name: str) -> Side:
    """The tower of a parameter: "scale" is what turns cosines into logits, "other" what neither tower uses (CoCa)."""
    first = name.partition(".")[0]
    if first == "visual":
        return "vision"
    if first in _TEXT:
        return "text"
    return "scale" if first in _SCALE else "other"


def require_sides(module: nn.Module) -> None:
    """Let through models whose names say which tower a parameter belongs to.

    Raises:
        Unsupported: a model of another library than open_clip, or one with a tower missing.
    """
    if is_transformers(module):
        raise Unsupported(
            f"parameters of a {type(module).__name__} were to be chosen for training; models of transformers are "
            "read, not trained. Load the same weights with open_clip, or train them with transformers."
        )
    found = {tower_of_parameter(name) for name, _ in module.named_parameters()}
    if not {"text", "vision"} <= found:
        raise Unsupported(
            f"parameters of a {type(module).__name__} were to be chosen for training; it has none named as open_clip "
            "names those of an image tower (visual.…) and a text tower. Give the whole model, not one tower of it."
        )
