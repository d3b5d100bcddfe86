"""transformers' tokenizers with clipsight's interface: texts and a context length in, padded ids out."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Int
from open_clip.tokenizer import bytes_to_unicode
from torch import Tensor

from clipsight.checkpoints.transformers_files import check_folder
from clipsight.errors import CheckpointError, Unsupported, first_line

_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "spiece.model", "tokenizer.model")
_CLIP_CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")


class HfTokenizer:
    """`tokenizer(texts, context_length=…)` gives (T, context) ids, transformers' own, end token kept when cut.

    Attributes:
        tokenizer: the same without cutting and padding, for those who ask what was cut off.
        context_length: positions of the model, where a call names none.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.tokenizer = _Uncut(tokenizer)
        self.context_length = context_length

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Int[Tensor, "T S"]:
        """Ids padded to the context as the model was trained: on the tokenizer's own side, with its own padding."""
        return self.tokenizer.ids(
            [texts] if isinstance(texts, str) else list(texts),
            padding="max_length",
            truncation=True,
            max_length=context_length or self.context_length,
            return_tensors="pt",
        )

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone, without start, end and padding."""
        return self.tokenizer.ids([text], add_special_tokens=False)[0]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without start, end and padding."""
        return self.tokenizer.decode(ids)


class HfBytePairs(HfTokenizer):
    """CLIP's byte pairs, whose pieces mark where a word ends.

    Attributes:
        decoder: id -> piece as the vocabulary writes it, as open_clip's `SimpleTokenizer` has it.
        byte_decoder: letter of a piece -> byte.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        super().__init__(tokenizer, context_length)
        self.decoder = {index: piece for piece, index in tokenizer.get_vocab().items()}
        self.byte_decoder = {letter: byte for byte, letter in bytes_to_unicode().items()}


class _Uncut:
    """A tokenizer that neither cuts nor pads by default; thread-safe, unlike those of transformers, which keep such
    settings.

    It names no `pad_token_id`: CLIP and SigLIP pad with their end token, so padding does not tell a text that was cut.
    Gemma's tokenizer serves SigLIP 2, which saw its texts in lower case (arXiv 2502.14786): transformers 5 lowers
    them for some of these models, version 4 for none; here it is always done.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._inner, self._lock = tokenizer, threading.Lock()
        self._lowers = "Gemma" in type(tokenizer).__name__

    def ids(self, texts: Sequence[str], **settings: Any) -> Any:
        """The ids that transformers gives for the texts."""
        read = [text.lower() for text in texts] if self._lowers else list(texts)
        with self._lock:
            return self._inner(read, verbose=False, **settings)["input_ids"]

    def __call__(self, text: str, truncation: bool = False) -> dict[str, list[int]]:
        """{"input_ids": ids of the whole text, start and end tokens with them}."""
        return {"input_ids": self.ids([text], truncation=truncation)[0]}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without start, end and padding."""
        with self._lock:
            return self._inner.decode(ids, skip_special_tokens=True)

    def read(self, text: str) -> "tuple[list[int], list[str], list[tuple[int, int]] | None, str]":
        """As `read_offsets`, and the text that the offsets count in."""
        said = text.lower() if self._lowers else text
        with self._lock:
            return *read_offsets(self._inner, said), said

    @property
    def unk_token(self) -> str | None:
        """The piece for anything outside the vocabulary."""
        return self._inner.unk_token

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """The pieces of some ids as the vocabulary writes them."""
        with self._lock:
            return self._inner.convert_ids_to_tokens(list(ids))


def read_offsets(tokenizer: Any, text: str) -> tuple[list[int], list[str], list[tuple[int, int]] | None]:
    """The ids, pieces and offsets of a text by a transformers tokenizer, without start, end, cutting and padding.

    Returns:
        Ids, pieces as the vocabulary writes them, and the characters of each, None from a slow tokenizer.
    """
    settings = {"return_offsets_mapping": True} if tokenizer.is_fast else {}
    made = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False, **settings)
    ids = list(made["input_ids"])
    offsets = [(int(start), int(end)) for start, end in made["offset_mapping"]] if settings else None
    return ids, tokenizer.convert_ids_to_tokens(ids), offsets


def open_tokenizer(folder: Path, context_length: int, vocabulary: int) -> HfTokenizer | None:
    """The tokenizer of a folder; None when there is none.

    Args:
        folder: where its files are.
        context_length: positions of the model.
        vocabulary: number of ids that the model knows.

    Raises:
        Unsupported: it needs a package that is not installed.
        CheckpointError: it is there and cannot be read, asks for code, or knows less than half of the model's ids, as
            it does where transformers makes one up for want of its files.
    """
    import transformers

    if not any((folder / name).is_file() for name in _FILES):
        return None
    check_folder(folder)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except ImportError as error:
        raise Unsupported(
            f"the tokenizer in {folder} needs a package that is not installed ({first_line(error)}): pip install "
            '"clipsight[hf]".'
        ) from None
    except Exception as error:  # a damaged file can fail in any way
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be read ({first_line(error)}); write it anew with "
            "tokenizer.save_pretrained(FOLDER)."
        ) from None
    if 2 * len(tokenizer) < vocabulary:
        raise CheckpointError(
            f"the tokenizer in {folder} knows {len(tokenizer)} pieces and the model {vocabulary}; usual cause: "
            "tokenizer.json or spiece.model is not there, fetch it again."
        )
    return wrapped(tokenizer, context_length)


def wrapped(tokenizer: Any, context_length: int) -> HfTokenizer:
    """A transformers tokenizer with clipsight's interface; CLIP's also marks word ends."""
    byte_pairs = type(tokenizer).__name__ in _CLIP_CLASSES
    return (HfBytePairs if byte_pairs else HfTokenizer)(tokenizer, context_length)
