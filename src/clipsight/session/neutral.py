"""Neutralise global torch settings while a question is answered, so that they cannot change an answer.

What a caller may have switched on for work of its own: autocast, inference mode, another default number type or default
device. Numbers are float32 in every case, and what is kept can be used afterwards in any state. Settings that only say
how exact or how fast arithmetic is (TF32, determinism, threads) are left as they are; what is remembered belongs to
them, see `arithmetic_state`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from clipsight.towers.identity import arithmetic


@contextmanager
def neutral(device: torch.device) -> Iterator[None]:
    """No ambient state inside; whether gradients are recorded stays as it is, none under inference mode."""
    with ExitStack() as states:
        for kind in {"cpu", device.type}:
            if torch.is_autocast_enabled(kind):
                states.enter_context(torch.autocast(kind, enabled=False))
        if torch.is_inference_mode_enabled():
            states.enter_context(torch.inference_mode(False))
            states.enter_context(torch.no_grad())
        if torch.get_default_dtype() != torch.float32:
            states.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            states.enter_context(torch.device("cpu"))
        yield


def arithmetic_state(device: torch.device) -> tuple[object, ...]:
    """The settings of the process that change the last bits of an answer."""
    return (*arithmetic(device), torch.get_num_threads())
