"""Outputs of transformers models: a tensor up to version 4, an object from version 5 on.

A feature is known by its shape, never by the version: two axes, the second as wide as the joint space.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

_NAMES = ("image_embeds", "text_embeds", "pooler_output")
"""Where an output object keeps a feature. Not last_hidden_state: that is one row per token."""


def feature_of(result: Any, width: int) -> Float[Tensor, "B E"]:
    """The one feature per picture or text in what `get_image_features` or `get_text_features` returned.

    Args:
        result: a tensor, an output object, or a tuple of tensors (what a model with `return_dict=False` gives).
        width: channels of the joint space.

    Raises:
        TypeError: no tensor of two axes and that width is in it; the message says what came.
    """
    if isinstance(result, Tensor):
        found = {"a tensor": result}
    elif isinstance(result, tuple):
        found = {f"[{index}]": part for index, part in enumerate(result) if isinstance(part, Tensor)}
    else:
        parts = {name: getattr(result, name, None) for name in _NAMES}
        found = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
    for part in found.values():
        if part.ndim == 2 and part.shape[1] == width:
            return part
    came = ", ".join(f"{name} of shape {tuple(part.shape)}" for name, part in found.items()) or "no tensor"
    raise TypeError(
        f"a feature of shape (rows, {width}) was expected from transformers, and a {type(result).__name__} came with "
        f"{came}; usual cause: a version of transformers that clipsight does not know. "
        'pip install -U "clipsight[hf]".'
    )
