"""Folders in transformers' format, looked through before transformers reads them: data is read, code is never run.

transformers can be told by a file of the folder to import Python beside it, to fetch kernels, to load another model.
Where it is not told whether to trust such code it asks on the terminal. So every folder is looked through first, only
folders on this machine are opened, and each call says `trust_remote_code=False`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from clipsight.checkpoints.fit_weights import read_json
from clipsight.checkpoints.hub import fetch_texts, held_texts
from clipsight.checkpoints.schema import MOST_BLOCKS, MOST_PATCHES, MOST_POSITIONS, MOST_WIDTH, MOST_WORDS
from clipsight.errors import CheckpointError, first_line

REPOSITORY = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
"""How a repository of the hub is called."""

_SETTINGS = (
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
)
_CODE = {
    "auto_map": "names Python files to run",
    "custom_pipelines": "names Python files to run",
    "trust_remote_code": "asks for code to be run",
    "kernel_config": "names programs to fetch",
    "use_kernels": "asks for programs to be fetched",
    "quantization_config": "asks for a program that unpacks the weights",
    "compression_config": "asks for a program that unpacks the weights",
    "base_model_name_or_path": "names another model to load",
    "transformers_weights": "names another file of weights",
}
_ATTENTION = (None, True, False, "eager", "sdpa")
_FLOATS = ("F", "BF", "float", "bfloat")
_LEAST_WEIGHTS = 10_000_000
"""So many weights are room that is always there."""
_TOKENIZERS = (
    "AlbertTokenizer", "BertTokenizer", "CLIPTokenizer", "DistilBertTokenizer", "GPT2Tokenizer", "GemmaTokenizer",
    "LlamaTokenizer", "M2M100Tokenizer", "MBartTokenizer", "MPNetTokenizer", "MT5Tokenizer", "NllbTokenizer",
    "PreTrainedTokenizer", "RobertaTokenizer", "Siglip2Tokenizer", "SiglipTokenizer", "T5Tokenizer",
    "TokenizersBackend", "XLMRobertaTokenizer",
)  # fmt: skip
"""Tokenizers that read tables and nothing else: no pickles, no programs of other packages."""
_SIZES = {
    "vocab_size": MOST_WORDS,
    "max_position_embeddings": MOST_POSITIONS,
    "image_size": MOST_POSITIONS,
    "patch_size": MOST_POSITIONS,
    "num_patches": MOST_PATCHES,
    "num_channels": 3,
    **dict.fromkeys(("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers"), MOST_BLOCKS),
    **dict.fromkeys(
        ("num_attention_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads"), MOST_WIDTH
    ),
    **dict.fromkeys(
        ("hidden_size", "intermediate_size", "projection_dim", "projection_size", "d_model", "d_ff", "d_kv"),
        MOST_WIDTH,
    ),
}


def text_folder(name: str, what: str, needs: str) -> Path:
    """The folder on this machine of a tokenizer or text model, looked through; downloaded if it must be.

    Args:
        name: a folder, or "org/name" of the hub.
        what: what asked for it, for messages.
        needs: "config.json" for a model, "" for a tokenizer.

    Raises:
        CheckpointError: no such folder, or one that asks for code.
        HubUnreachable: it must be downloaded and could not be.
    """
    folder = Path(name)
    if not folder.is_dir():
        if not REPOSITORY.fullmatch(name):
            raise CheckpointError(f"{what}: {name[:200]!r} is neither a folder nor a model of the hub.")
        folder = held_texts(name, needs) or fetch_texts(name)
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder of which a file asks for code, another model, or sizes that no model has.

    Raises:
        CheckpointError: names the file and the key.
    """
    for name in _SETTINGS:
        if (folder / name).is_file():
            _check_settings(folder / name)
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder} holds adapters (adapter_config.json), which are put into another model; merge them where they "
            "were trained (merge_and_unload), save that, and load it."
        )


def check_stored(folder: Path, config: Any, what: str) -> None:
    """Refuse weights that hold integers where a model has numbers, or far fewer bytes than the model has weights.

    transformers would make room for what is missing, and cast integers as if they were the weights.

    Args:
        folder: looked through by `check_folder`.
        config: transformers' own, of its config.json.
        what: the model, for messages.

    Raises:
        CheckpointError: as said, or settings that do not go together.
    """
    import transformers

    try:
        with torch.device("meta"):
            module: Any = transformers.AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # what transformers raises there can be anything
        raise CheckpointError(
            f"{what}: transformers cannot build what its config.json says ({first_line(error)}); fetch it again."
        ) from None
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    files = [
        path for kind in ("model*.safetensors", "pytorch_model*.bin") for path in sorted(folder.glob(kind))
    ]
    held, needed = sum(path.stat().st_size for path in files), sum(map(math.prod, shapes.values()))
    if files and needed > max(_LEAST_WEIGHTS, held):
        raise CheckpointError(
            f"{what}: config.json describes {needed:,} weights and the files hold {held:,} bytes; usual cause: the "
            "configuration of another model, or a truncated file. Fetch it again."
        )
    for path in files:
        for name, kind in _number_types(path).items():
            if name in shapes and not name.endswith("position_ids") and not kind.startswith(_FLOATS):
                raise CheckpointError(
                    f"{what}: {name} holds {kind} in {path.name} and the model computes in floating point; usual "
                    "cause: quantised weights, whose scales are not there. Take the model in float16 or float32."
                )


def _number_types(path: Path) -> dict[str, str]:
    """Name -> number type of the tensors in a file, without reading them; {} for a file that cannot be read."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        content = torch.load(path, map_location="meta", weights_only=True, mmap=True)
        return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in content.items()}
    except Exception:  # transformers, which reads it next, says what is wrong
        return {}


def _check_settings(path: Path) -> None:
    content = read_json(path)
    for place, key, value in _entries(content):
        name = f"{place}{key}"
        if key == "trust_remote_code" and value is False:
            continue
        if key in _CODE and value is not None:
            raise CheckpointError(
                f"{path}: the key {name!r} {_CODE[key]}, and nothing of a model's files is run; load a model without, "
                "or open it yourself and pass the live module (and tokenizer=)."
            )
        if "_implementation" in key and not _plain_attention(value):
            raise CheckpointError(
                f"{path}: {name} is {_shown(value)}, which may fetch a program; take it out, or write eager or sdpa."
            )
        if key in _SIZES and not _sized(value, _SIZES[key]):
            raise CheckpointError(
                f"{path}: {name} is {_shown(value)}; it must be whole numbers from 1 to {_SIZES[key]:,}."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise CheckpointError(f"{path}: {name} is {value}; it must be a finite number.")
    kind = content.get("tokenizer_class") if path.name in ("tokenizer_config.json", "config.json") else None
    if kind is not None and str(kind).removesuffix("Fast") not in _TOKENIZERS:
        raise CheckpointError(
            f"{path}: tokenizer_class is {_shown(kind)}, which is not among those that read tables alone; open it "
            "yourself and pass it: clipsight.load(…, tokenizer=TOKENIZER)."
        )


def _entries(content: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path to it, key, value) of every entry, however deep; `read_json` limits the depth."""
    for key, value in content.items():
        yield place, key, value
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from _entries(inner, f"{place}{key}.")


def _plain_attention(value: object) -> bool:
    values = value.values() if isinstance(value, Mapping) else (value,)
    return all(isinstance(one, str | bool | None) and one in _ATTENTION for one in values)


def _sized(value: object, most: int) -> bool:
    if isinstance(value, Mapping):  # sizes of pictures, such as {"height": 224, "width": 224}
        value = list(value.values())
    values = value if isinstance(value, list) else [value]
    return all(one is None or (type(one) is int and 1 <= one <= most) for one in values)


def _shown(value: object) -> str:
    return " ".join(repr(value)[:80].split()) if not isinstance(value, int) else f"{value:.6g}"
