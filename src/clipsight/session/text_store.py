"""Text features of one model on disk, for prompt ensembles that are slower to encode than to read."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from clipsight.checkpoints.fingerprint import as_bytes
from clipsight.language.tokens import Tokenizer
from clipsight.store import Facts, Store, content_hash, open_store
from clipsight.towers.identity import text_identity

_KIND = "texts"
WORTH_A_LOOK = 512
"""Prompts from which the disk is asked. On two cores ViT-B/32 encodes that many in 1.0 s; hashing its text side, which
each look costs, takes 0.3 s."""


class TextStore:
    """Lists of texts with their features, by the content of everything that made them.

    Args:
        module: the model; its text side is hashed at each look, so a change of it is always seen.
        tokenizer: its tokenizer; the ids that it gives are part of the name.
        context: the model's token positions.
        store: where they are kept.
    """

    def __init__(self, module: nn.Module, tokenizer: Tokenizer, context: int, store: Store) -> None:
        self._module, self._tokenizer, self._context, self._store = module, tokenizer, context, store

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
        facts = self._facts(asked, templates)
        if facts is None:
            return encode(asked)
        kept = self._store.get(_KIND, facts)
        if kept is not None and (found := _features(kept, len(asked))) is not None:
            return found
        if kept is not None:
            self._store.reject()
        made = encode(asked)
        # The model may have been trained on meanwhile, in another thread: then these features belong to no facts.
        if self._facts(asked, templates) == facts:
            self._store.put(_KIND, facts, save({"features": made.contiguous()}))
        return made

    def _facts(self, texts: list[str], templates: tuple[str, ...]) -> Facts | None:
        if (identity := text_identity(self._module)) is None:
            return None
        # A tokenizer has no identity of its own: the ids of every text and of every template stand for it.
        ids: Tensor = self._tokenizer([*texts, *templates], context_length=self._context)
        return {
            "model": identity,
            "texts": content_hash(*texts),
            "templates": list(templates),
            "context": self._context,
            "ids": [list(ids.shape), content_hash(as_bytes(ids))],
        }


def _features(kept: bytes, count: int) -> Tensor | None:
    """Features as they were kept, None where they are no features of so many texts."""
    try:
        found = load(kept)["features"]
    except (SafetensorError, KeyError):
        return None
    return found if found.ndim == 2 and len(found) == count else None


def text_store(module: nn.Module, tokenizer: Tokenizer | None, context: int) -> TextStore | None:
    """The store for a model in the cache that the environment asks for; None without one or without a tokenizer."""
    store = open_store()
    return None if store is None or tokenizer is None else TextStore(module, tokenizer, context, store)
