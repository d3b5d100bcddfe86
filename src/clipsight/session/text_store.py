"""Text features of one model on disk, for prompt ensembles whose encoding takes longer than a look at the disk."""

import json
from collections.abc import Callable, Sequence

from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor, nn

from clipsight.checkpoints.fingerprint import as_bytes
from clipsight.language.tokens import Tokenizer
from clipsight.store.disk import DiskCache, entry_name, open_cache
from clipsight.towers.text_identity import text_identity

WORTH_A_LOOK = 512
"""Prompts from which the disk is asked. On two cores ViT-B/32 encodes that many in 1.0 s; hashing its text side, which
each look costs, takes 0.3 s."""


class TextStore:
    """Lists of texts with their features, by the content of everything that made them.

    Args:
        module: the model; its text side is hashed at each look, so a change of it is always seen.
        tokenizer: its tokenizer; the ids that it gives are part of the name.
        context: the model's token positions.
        disk: where entries lie.
    """

    def __init__(self, module: nn.Module, tokenizer: Tokenizer, context: int, disk: DiskCache) -> None:
        self._module, self._tokenizer, self._context, self._disk = module, tokenizer, context, disk

    def features(
        self,
        texts: Sequence[str],
        templates: tuple[str, ...],
        encode: Callable[[list[str]], Float[Tensor, "T E"]],
    ) -> Float[Tensor, "T E"]:
        """Features of exactly these texts in this order: from the disk, or from `encode` and then kept there."""
        asked = list(texts)
        if len(asked) * max(1, len(templates)) < WORTH_A_LOOK:
            return encode(asked)
        name = self._name(asked, templates)
        if name is not None and (stored := self._disk.read(name)) is not None:
            return load(stored)["features"]
        made = encode(asked)
        # The model may have been trained on meanwhile, in another thread: then these features belong to no name.
        if name is not None and self._name(asked, templates) == name:
            self._disk.write(name, save({"features": made.contiguous()}))
        return made

    def _name(self, texts: list[str], templates: tuple[str, ...]) -> str | None:
        if (identity := text_identity(self._module)) is None:
            return None
        # A tokenizer has no identity of its own: the ids of every text and of every template stand for it.
        ids: Tensor = self._tokenizer([*texts, *templates], context_length=self._context)
        said = json.dumps([identity, texts, templates, self._context, list(ids.shape)])
        return entry_name("texts", said.encode(), as_bytes(ids))


def text_store(module: nn.Module, tokenizer: Tokenizer | None, context: int) -> TextStore | None:
    """The store for a model in the cache that the environment asks for; None without one or without a tokenizer."""
    disk = open_cache()
    return None if disk is None or tokenizer is None else TextStore(module, tokenizer, context, disk)
