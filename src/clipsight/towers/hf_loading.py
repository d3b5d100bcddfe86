"""Load transformers models by hub id or folder, or from a live module, like any other model.

Weights are read by the library itself, safetensors first and pickles without code; nothing of a repository is ever run.
"""

import warnings
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from clipsight.checkpoints.activation import NAMES
from clipsight.checkpoints.fingerprint import fingerprint
from clipsight.checkpoints.fit_weights import check_numbers
from clipsight.checkpoints.hub import fetch_transformers, held_transformers
from clipsight.checkpoints.transformers_files import REPOSITORY, check_folder, check_stored
from clipsight.errors import CheckpointError, ClipsightWarning, Unsupported, first_line
from clipsight.language.hf_tokenizers import open_tokenizer
from clipsight.language.tokens import Tokenizer
from clipsight.towers.card import activation_of, describe
from clipsight.towers.hf_models import hf_towers, refusal
from clipsight.towers.hf_pictures import picture_settings
from clipsight.towers.loading import LIVE, Loaded
from clipsight.towers.placing import as_device, as_dtype, placed

_CLIP_VOCABULARY = 49_408
_KINDS = ("clip", "siglip", "siglip2")
_UNUSED = "position_ids"
"""Files of old hold these row numbers as if they were weights."""


def load_hf(
    name: str, *, device: torch.device | str | None = None, dtype: torch.dtype | str | None = None
) -> Loaded:
    """A CLIP, SigLIP or SigLIP 2 model in transformers' format.

    Args:
        name: "hf:FOLDER" or "hf:org/name" of the Hugging Face hub; a folder of that name comes first.
        device: None takes CUDA, else Apple's MPS, else the CPU.
        dtype: number type to compute in, torch's or its name; None is float32.

    Raises:
        ValueError: a device or number type that cannot be used.
        CheckpointError: no such folder, or files that cannot be read or do not fit.
        HubUnreachable: it must be downloaded and could not be.
        Unsupported: another kind of model; a package that is not installed.
    """
    require_transformers(name)
    place, kind = as_device(device), as_dtype(dtype) or torch.float32
    folder = _folder(name)
    module = _read(name, folder).eval()
    mark = fingerprint(module)
    loaded = _loaded(module.to(device=place, dtype=kind), name, mark, folder)
    for note in loaded.card.notes:
        warnings.warn(f"{name}: {note}", ClipsightWarning, stacklevel=5)
    return loaded


def live_hf(
    module: nn.Module, *, device: torch.device | str | None = None, dtype: torch.dtype | str | None = None
) -> Loaded:
    """A live `CLIPModel`, `SiglipModel` or `Siglip2Model`, which is never changed.

    Tokenizer and picture settings come from where its configuration says it was loaded from, if that is on this
    machine; else CLIP's own for its vocabulary and the family's, which the card notes.

    Raises:
        ValueError: a device or number type that cannot be used.
        Unsupported: another kind of model.
    """
    hf_towers(module)
    kind, mark = as_dtype(dtype), fingerprint(module)
    return _loaded(placed(module, device, kind), LIVE, mark, _origin(module))


def _loaded(module: nn.Module, name: str, mark: str, folder: Path | None) -> Loaded:
    """The model with what stands beside it; the card notes what was not there."""
    towers = hf_towers(module)
    preprocess, notes = picture_settings(towers, folder)
    context = towers.text.context
    words: Any = module.get_submodule("text_model.embeddings.token_embedding")
    vocabulary: int = words.num_embeddings
    tokenizer: Tokenizer | None = None if folder is None else open_tokenizer(folder, context, vocabulary)
    if tokenizer is None:
        clip = vocabulary == _CLIP_VOCABULARY
        tokenizer = open_clip.SimpleTokenizer(context_length=context) if clip else None
        instead = (
            "CLIP's own is used, whose size its vocabulary has"
            if clip
            else "name one with clipsight.load(…, tokenizer=…) to ask with words"
        )
        notes = (f"It came without a tokenizer: {instead}.", *notes)
    return Loaded(
        module=module,
        tokenizer=tokenizer,
        preprocess=preprocess,
        name=name,
        pretrained=None,
        fingerprint=mark,
        card=describe(module, {"notes": notes}),
        activation=f"{NAMES[activation_of(module) == 'quick_gelu']}, by the configuration of the model",
    )


def _origin(module: nn.Module) -> Path | None:
    """The folder on this machine that a live module's configuration says it was loaded from."""
    config: Any = module.config
    name = getattr(config, "name_or_path", None) or ""
    if name and Path(name, "config.json").is_file():
        return Path(name)
    return held_transformers(name) if REPOSITORY.fullmatch(name) else None


def require_transformers(what: str) -> None:
    """Refuse with the install line where the library is missing.

    Raises:
        Unsupported: as said.
    """
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise Unsupported(
            f'{what} is read by transformers, which is not installed: pip install "clipsight[hf]".'
        ) from None


def _folder(name: str) -> Path:
    place = name.removeprefix("hf:")
    folder = Path(place).expanduser()
    if folder.is_dir():
        if (folder / "config.json").is_file():
            return folder
        raise CheckpointError(
            f"model folder {folder} has no config.json; hf:FOLDER takes what save_pretrained writes (for a folder in "
            f"open_clip's format write local-dir:{place})."
        )
    if not REPOSITORY.fullmatch(place):
        raise CheckpointError(
            f"model folder {folder} does not exist; check the path, or write hf:org/name for a model of the hub."
        )
    return fetch_transformers(place)


def _read(name: str, folder: Path) -> nn.Module:
    """The model with its weights in float32; what the folder's files ask for beside data is refused."""
    import transformers

    check_folder(folder)
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (
        Exception
    ) as error:  # unreadable JSON, an unknown kind or one that is code: all say so in words of their own
        raise CheckpointError(
            f"{name}: its config.json cannot be used ({first_line(error)}); a CLIP, SigLIP or SigLIP 2 model is needed."
        ) from None
    if config.model_type not in _KINDS:
        raise Unsupported(f"{name}: {refusal(config.model_type)}")
    check_stored(folder, config, name)
    try:
        module, report = transformers.AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # a damaged file can fail in any way
        raise CheckpointError(
            f"{name}: its weights cannot be read ({first_line(error)}). Usual cause: the file is truncated, a Git LFS "
            "pointer, or of another architecture than config.json; fetch it again."
        ) from None
    missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
    if missing:
        raise CheckpointError(
            f"{name}: the weights do not fit config.json; {len(missing)} missing or of another shape: "
            f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}. Usual cause: another architecture."
        )
    if extra := sorted(key for key in report["unexpected_keys"] if not key.endswith(_UNUSED)):
        warnings.warn(
            f"{name}: {len(extra)} weights have no place in a {type(module).__name__} and are not used: "
            f"{', '.join(extra[:3])}{', …' if len(extra) > 3 else ''}.",
            ClipsightWarning,
            stacklevel=6,
        )
    state = module.state_dict()
    check_numbers(state, state, name)
    return module
