"""The state of a training run on the disk: at any moment, also after SIGKILL, a whole one is there to go on from.

state.pt            the newest
state.previous.pt   the one before it
state.next.pt       there only between two renames: the newest, already whole

A state is written under a temporary name, brought to the disk, and renamed to `state.next.pt`. Then `state.pt` becomes
the previous one and the next one becomes `state.pt`. Whichever rename the process dies at, one whole state has a name,
even if the newest before it was damaged.
"""

import json
import os
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from clipsight.errors import CheckpointError, ClipsightWarning, first_line
from clipsight.tune.locking import folder_held
from clipsight.tune.torch_files import disk_full_said, write_torch

NEWEST, PREVIOUS, NEXT = "state.pt", "state.previous.pt", "state.next.pt"
_FORMAT = 1
_PLAIN = (torch.Tensor, bool, int, float, str, type(None))


def save_state(
    folder: str | os.PathLike[str], state: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> Path:
    """Keep a state of training; the one that was the newest stays as the previous one.

    One process writes to a folder, the main one of the run, see `locking`.

    Args:
        folder: made if needed.
        state: dicts, lists and tuples of tensors, numbers, strings, booleans and None, in any depth.
        settings: what a run that goes on from it must have in common with this one; plain data that JSON holds.

    Raises:
        TypeError: something in the state that could not be read back without running code.
        ClipsightError: the disk is full, or another run holds the folder; what was saved before is untouched.
        OSError: other errors of the system, with the file's name.

    >>> save_state("runs/cae", {"step": 100, "model": model.state_dict()}, {"lr": 5e-7})
    """
    place = Path(folder)
    _check_plain(state, "state")
    content = {"format": _FORMAT, "settings": _as_json(settings or {}), "state": dict(state)}
    newest, following = place / NEWEST, place / NEXT
    with (
        disk_full_said(
            f"The state of training in {place}",
            "What was saved before is untouched, and the run can go on from it",
        ),
        folder_held(place),
    ):
        write_torch(following, content)
        with suppress(FileNotFoundError):
            os.replace(newest, place / PREVIOUS)
        os.replace(following, newest)
        _sync(place)
    return newest


def load_state(
    folder: str | os.PathLike[str], settings: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The newest state in a folder that is whole, its tensors on the CPU; None when none was saved there.

    A newest state that is damaged is passed over with a warning.

    Args:
        folder: as for `save_state`.
        settings: of the run that wants to go on; None takes a state of any settings.

    Raises:
        CheckpointError: every state there is damaged, or the newest whole one was made with other settings.
    """
    place = Path(folder)
    damage: list[str] = []
    for path in (place / NEXT, place / NEWEST, place / PREVIOUS):
        if not path.is_file():
            continue
        content = _read(path, damage)
        if content is None:
            continue
        if damage:
            warnings.warn(
                f"{'; '.join(damage)}: training goes on from {path.name}, which is older.",
                ClipsightWarning,
                stacklevel=2,
            )
        if settings is not None:
            _check_settings(content["settings"], _as_json(settings), path)
        return content["state"]
    if damage:
        raise CheckpointError(
            f"training was to go on from {place}, but no state there is whole: {'; '.join(damage)}. Usual cause: a "
            "disk that failed or an incomplete copy; copy the folder again, or start anew in another folder."
        )
    return None


def _read(path: Path, damage: list[str]) -> dict[str, Any] | None:
    """What a file holds; None where it is damaged, which is added to `damage`."""
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch writes checksums and does not look at them
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"the checksum of its part {broken} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        reason = first_line(error)
    else:
        if isinstance(content, dict) and content.keys() >= {"format", "settings", "state"}:
            if content["format"] > _FORMAT:
                raise CheckpointError(
                    f"{path} has format {content['format']} and this clipsight reads up to {_FORMAT}; it was written "
                    "by a newer clipsight: upgrade."
                )
            return content
        reason = "it is no state of a training run"
    damage.append(f"{path} ({path.stat().st_size:,} bytes) cannot be read, {reason}")
    return None


def _check_settings(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    saved, asked = dict(_flat(before)), dict(_flat(now))
    for name in (*saved, *(name for name in asked if name not in saved)):
        if saved.get(name, "absent") != asked.get(name, "absent"):
            raise CheckpointError(
                f"training was to go on from {path}, which was made with other settings: {name} was "
                f"{saved.get(name, 'absent')!r} and is now {asked.get(name, 'absent')!r}. Take the same settings to go "
                "on with that run, or another folder to start a new one."
            )


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they are read back: a tuple is a list there."""
    return json.loads(json.dumps(dict(settings)))


def _check_plain(value: object, where: str) -> None:
    """Refuse while the run still has it what could not be read back from the file."""
    if type(value) in (dict, OrderedDict):
        for name, inner in value.items():  # pyright: ignore[reportAttributeAccessIssue]
            if type(name) not in (str, int):
                raise TypeError(
                    f"{where} has a key of type {type(name).__name__}; keys are strings or integers."
                )
            _check_plain(inner, f"{where}[{name!r}]")
    elif type(value) in (list, tuple):
        for place, inner in enumerate(value):  # pyright: ignore[reportArgumentType]
            _check_plain(inner, f"{where}[{place}]")
    elif not (isinstance(value, torch.Tensor) or type(value) in _PLAIN):
        raise TypeError(
            f"{where} is a {type(value).__name__}; a state of training holds tensors, numbers, strings, booleans and "
            "None in dicts, lists and tuples, so that it is read back without running code. Save its state_dict() or "
            "turn it into a tensor."
        )


def _sync(folder: Path) -> None:
    """Bring the renames to the disk too, where the system can do that for folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
