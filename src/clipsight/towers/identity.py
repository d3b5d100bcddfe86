"""A hash of everything in a model that a feature depends on, as the model is now.

Weights are hashed in full each time, so any change gives another identity. Beside
them count the settings that weights do not show (heads, masks, pooling, activation), the libraries, this package's own
code and the arithmetic of the machine.
"""

import hashlib
import json
import platform
from importlib.metadata import version
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from clipsight.checkpoints.fingerprint import as_bytes
from clipsight.store import code_of, content_hash

_IMAGE_SIDE = ("visual.", "vision_model.", "visual_projection.")
_KNOWN_CODE = {
    "torch": "torch",
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "transformers": "transformers",
}
"""Packages whose classes do what their version says, and what they are installed as."""
_PLAIN = (bool, int, float, str, type(None))


def text_identity(module: nn.Module) -> str | None:
    """Hash of a model's text side; None where no hash could promise that it gives the same features again.

    That is: off the CPU, where encoding takes no longer than this; under autocast; with classes, functions or hooks
    that are not the libraries' own.
    """
    device = next(module.parameters()).device
    return None if device.type != "cpu" else _identity(module, _IMAGE_SIDE, device)


def model_identity(module: nn.Module) -> str | None:
    """Hash of a whole model on the device where it is; None as for `text_identity`, but for the device."""
    return _identity(module, (), next(module.parameters()).device)


def _identity(module: nn.Module, without: tuple[str, ...], device: torch.device) -> str | None:
    if torch.is_autocast_enabled(device.type):
        return None
    rooms = code_of("checkpoints", "language", "towers")
    digest = hashlib.sha256(json.dumps([*arithmetic(device), rooms]).encode())
    for name, part in module.named_modules():
        if f"{name}.".startswith(without):
            continue
        if (habits := _habits(part)) is None:
            return None
        digest.update(json.dumps([name, habits]).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name.startswith(without):
            continue
        if tensor.device != device:
            return None
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(as_bytes(tensor.detach()))
    return digest.hexdigest()


def tokenizer_identity(tokenizer: Any) -> str:
    """Hash of a tokenizer's class, vocabulary and settings; "" for none."""
    if tokenizer is None:
        return ""
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    backend = getattr(inner, "backend_tokenizer", None)
    vocabulary = inner.get_vocab() if hasattr(inner, "get_vocab") else getattr(inner, "encoder", {})
    said: list[Any] = [sorted(vocabulary.items()), "" if backend is None else backend.to_str()]
    for one in dict.fromkeys((tokenizer, inner)):
        own = vars(one) if hasattr(one, "__dict__") else {}
        plain = sorted((name, value) for name, value in own.items() if _is_plain(value))
        functions = sorted(
            (name, value.__qualname__) for name, value in own.items() if isinstance(value, FunctionType)
        )
        said += [type(one).__module__, type(one).__qualname__, plain, functions]
    return content_hash(json.dumps(said, default=str))


def arithmetic(device: torch.device) -> list[Any]:
    """What determines torch's results besides the operands: machine, version, settings of the process."""
    machine = (
        [platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.backends.mkldnn.enabled]
        if device.type == "cpu"
        else [device.type, torch.cuda.get_device_name(device) if device.type == "cuda" else ""]
    )
    flags = [
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
    ]
    return [version("torch"), *machine, *flags]


def _habits(part: nn.Module) -> list[Any] | None:
    """A module's class and the settings it holds; None if somebody else's code runs in it."""
    kind, own = type(part), vars(part)
    package = _known(kind.__module__)
    if package is None or any(own.get(name) for name in ("_forward_hooks", "_forward_pre_hooks")):
        return None
    plain: list[Any] = []
    for name, value in sorted(own.items()):
        if isinstance(value, FunctionType | MethodType | BuiltinFunctionType):
            if _known(value.__module__ or "") is None or name == "forward":
                return None
            plain.append((name, f"{value.__module__}.{value.__qualname__}"))
        elif isinstance(value, torch.Tensor):
            plain.append((name, hashlib.sha256(as_bytes(value.detach())).hexdigest()))
        elif _is_plain(value):
            plain.append((name, value))
    settings: Any = own.get("config")
    if package == "transformers" and settings is not None:
        plain.append(("config", f"{settings.to_json_string()} {settings._attn_implementation}"))
    return [kind.__module__, kind.__qualname__, version(package), part.extra_repr(), plain]


def _known(module: str) -> str | None:
    return _KNOWN_CODE.get(module.partition(".")[0])


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple | list) and all(map(_is_plain, value)))
