"""The tokenizer that a user names for a model, in place of the one that it came with."""

from collections.abc import Callable
from os import PathLike, fspath
from typing import Any, cast

import open_clip
import torch
from torch import Tensor

from clipsight.checkpoints.locate import BUNDLED_MODELS
from clipsight.checkpoints.transformers_files import text_folder
from clipsight.errors import CheckpointError, ClipsightError, Unsupported
from clipsight.language.hf_tokenizers import open_tokenizer, wrapped
from clipsight.language.tokens import Tokenizer
from clipsight.towers.view import TextView

Choice = str | PathLike[str] | Callable[..., Tensor]
"""A name of open_clip's, "hf:org/name", a folder, or a tokenizer."""


def chosen_tokenizer(
    asked: Any, view: TextView, vocabulary: int, of_listed: Callable[[str, int], Tokenizer | None]
) -> Tokenizer:
    """The tokenizer that was asked for, tried on a text.

    Args:
        asked: name of one of open_clip's architectures, whose tokenizer is taken; "hf:org/name", "hf:FOLDER" or a
            folder with a tokenizer of transformers'; a tokenizer of transformers', or any callable
            `tokenizer(texts, context_length=…)` that gives ids (texts, positions).
        view: the model's text tower.
        vocabulary: number of ids that the model knows, 0 where it does not say.
        of_listed: the tokenizer of open_clip's architecture of that name, for a context.

    Raises:
        TypeError: something else.
        ValueError: an unknown name, or a tokenizer whose ids are not this model's.
        CheckpointError, HubUnreachable, Unsupported: a named one that cannot be read.
    """
    tokenizer = _opened(asked, view.context, vocabulary, of_listed)
    name = asked if isinstance(asked, str) else type(asked).__name__
    try:
        ids: Any = tokenizer(["a photo of a dog"], context_length=view.context)
    except ClipsightError:
        raise
    except Exception as error:  # somebody's program
        raise ValueError(
            f"tokenizer={name!r} cannot be called as tokenizer(texts, context_length={view.context}) ({error}); wrap "
            "it in a function that can, giving ids of shape (texts, positions)."
        ) from error
    whole = isinstance(ids, Tensor) and ids.ndim == 2 and len(ids) == 1 and not ids.is_floating_point()
    if not whole or not 1 <= ids.shape[1] <= view.context:
        got = (
            f"a tensor of {ids.dtype} and shape {tuple(ids.shape)}"
            if isinstance(ids, Tensor)
            else type(ids).__name__
        )
        raise ValueError(
            f"tokenizer={name!r} gives {got} for one text; integers of shape (1, {view.context}) were expected."
        )
    if vocabulary and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
        raise ValueError(
            f"tokenizer={name!r} gives ids up to {int(ids.max())} and this model knows 0 to {vocabulary - 1}; it "
            "belongs to another model."
        )
    return tokenizer


def _opened(
    asked: Any, context: int, vocabulary: int, of_listed: Callable[[str, int], Tokenizer | None]
) -> Tokenizer:
    if isinstance(asked, str | PathLike):
        return _named(fspath(asked), context, vocabulary, of_listed)
    if hasattr(asked, "convert_ids_to_tokens") and hasattr(asked, "is_fast"):
        return wrapped(asked, context)
    if callable(asked):
        return cast(Tokenizer, asked)
    raise TypeError(
        f"tokenizer is a {type(asked).__name__}; give a name of open_clip's, hf:org/name, a folder, or a callable."
    )


def _named(
    name: str, context: int, vocabulary: int, of_listed: Callable[[str, int], Tokenizer | None]
) -> Tokenizer:
    known = name.replace("/", "-")
    if name in BUNDLED_MODELS:
        return open_clip.SimpleTokenizer(context_length=context)
    if known in open_clip.list_models():
        tokenizer = of_listed(known, context)
        if tokenizer is None:
            raise Unsupported(f"tokenizer={name!r}: open_clip has no tokenizer for that architecture.")
        return tokenizer
    folder = text_folder(name.removeprefix("hf:"), f"tokenizer={name!r}", "")
    tokenizer = open_tokenizer(folder, context, vocabulary)
    if tokenizer is None:
        raise CheckpointError(f"tokenizer={name!r}: {folder} holds no tokenizer; it needs a tokenizer.json.")
    return tokenizer


def vocabulary_of(module: torch.nn.Module) -> int:
    """Number of token ids that a model knows, 0 where it does not say."""
    for part in (module, getattr(module, "text", None), getattr(module, "text_model", None)):
        size = getattr(part, "vocab_size", None)
        if isinstance(size, int) and size > 0:
            return size
    config = getattr(getattr(module, "config", None), "text_config", None)
    return int(getattr(config, "vocab_size", 0) or 0)
