"""Weights that must be downloaded: from the cache if they are there, else in one quick try.

Without a network huggingface_hub retries each of open_clip's two file names for some 25 seconds and logs every try. So
the cache is asked first (without any request), then the server once with a short limit; only then open_clip downloads,
with its own progress bar. No setting of either library is changed.
"""

from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.utils import get_session
from open_clip.pretrained import download_pretrained_from_hf

from clipsight.errors import HubUnreachable

_SECONDS = 5.0
_WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_SAFE, _PICKLED = "model*.safetensors", "pytorch_model*.bin"
_BESIDE = ("*.json", "*.txt", "*.model")
_TOKENIZERS = (
    *("tokenizer.json", "vocab.json", "vocab.txt"),
    *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
)


def fetch_tag(name: str, tag: str) -> Path:
    """The weight file of an open_clip tag, such as ("ViT-B-16", "openai").

    Raises:
        HubUnreachable: it is not in the cache and could not be downloaded.
    """
    settings: dict[str, Any] = open_clip.get_pretrained_cfg(name, tag)
    what = f"the weights {tag!r} of {name}"
    if hub := settings.get("hf_hub"):
        repository, _, file = hub.rpartition("/")
        if (held := _held(repository, file)) is not None:
            return held
        server = constants.ENDPOINT
    else:
        server = settings["url"]
    if hub or not (Path.home() / ".cache" / "clip" / server.rpartition("/")[2]).is_file():
        _require(server, what)
    try:
        return Path(open_clip.download_pretrained(settings))
    except Exception as error:
        raise _unreachable(what, server, error) from None


def fetch_repository(repository: str) -> tuple[Path, Path]:
    """(configuration, weights) of an open_clip model on the Hugging Face hub, "org/name".

    Raises:
        HubUnreachable: they are not in the cache and could not be downloaded.
    """
    config, weights = _held(repository, "open_clip_config.json"), _held(repository, "")
    if config is not None and weights is not None:
        return config, weights
    what = f"the model {repository!r}"
    _require(constants.ENDPOINT, what)
    try:
        config = download_pretrained_from_hf(repository, filename="open_clip_config.json")
        return Path(config), Path(download_pretrained_from_hf(repository))
    except Exception as error:
        raise _unreachable(what, constants.ENDPOINT, error) from None


def held_transformers(repository: str) -> Path | None:
    """The cached folder of a transformers model, "org/name", found without a request; None when it is not there."""
    config = try_to_load_from_cache(repository, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def fetch_transformers(repository: str) -> Path:
    """The folder of a transformers model on the Hugging Face hub, "org/name"; pickles only where no safetensors are.

    Raises:
        HubUnreachable: it is not in the cache and could not be downloaded.
    """
    held = held_transformers(repository)
    weights = held is not None and any(next(held.glob(kind), None) for kind in (_SAFE, _PICKLED))
    if held is not None and weights and (held / "preprocessor_config.json").exists():
        return held
    what = f"the model {repository!r}"
    try:
        _require(constants.ENDPOINT, what)
    except HubUnreachable:
        if held is not None and weights:
            return held
        raise
    try:
        folder = snapshot_download(repository, allow_patterns=[*_BESIDE, _SAFE], ignore_patterns="*/*")
        if next(Path(folder).glob(_SAFE), None) is None:
            folder = snapshot_download(repository, allow_patterns=[*_BESIDE, _PICKLED], ignore_patterns="*/*")
    except Exception as error:
        raise _unreachable(what, constants.ENDPOINT, error) from None
    return Path(folder)


def held_texts(repository: str, needs: str) -> Path | None:
    """The cached folder of a tokenizer, or with `needs` "config.json" of a text model's settings, without a request."""
    for name in (needs,) if needs else _TOKENIZERS:
        held = try_to_load_from_cache(repository, name)
        if isinstance(held, str):
            return Path(held).parent
    return None


def fetch_texts(repository: str) -> Path:
    """The folder of a tokenizer or a text model's settings on the hub, without weights.

    Raises:
        HubUnreachable: it could not be downloaded.
    """
    what = f"the tokenizer or text model {repository!r}"
    _require(constants.ENDPOINT, what)
    try:
        return Path(snapshot_download(repository, allow_patterns=[*_BESIDE], ignore_patterns="*/*"))
    except Exception as error:
        raise _unreachable(what, constants.ENDPOINT, error) from None


def _held(repository: str, file: str) -> Path | None:
    """A cached file of the hub, found without a request; `file` "" means the weights by either of their names."""
    names = (file,) if file else _WEIGHT_FILES
    if file.endswith((".bin", ".pth")):
        names = (f"{file[:-4]}.safetensors", file)
    for name in names:
        held = try_to_load_from_cache(repository, name)
        if isinstance(held, str):
            return Path(held)
    return None


def _require(server: str, what: str) -> None:
    """Raise unless the server answers one request."""
    try:
        answer = get_session().head(server, timeout=_SECONDS)
    except Exception as error:
        raise _unreachable(what, server, error) from None
    if answer.status_code >= 500:
        raise _unreachable(what, server, OSError(f"it answers with error {answer.status_code}"))


def _unreachable(what: str, server: str, error: Exception) -> HubUnreachable:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    return HubUnreachable(
        f"{what} must be downloaded and could not be ({server}: {cause}); connect and try again, or go on without a "
        'network: --model clipsight-tiny (clipsight.load("clipsight-tiny") in Python), or --pretrained PATH '
        "(pretrained=PATH) with weights that you have."
    )
