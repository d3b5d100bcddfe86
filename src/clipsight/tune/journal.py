"""The log of a run: one JSON object a line, and TensorBoard's files where they are wanted."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from clipsight.errors import Unsupported
from clipsight.results import atomic_write
from clipsight.tune.torch_files import disk_full_said

LOG = "log.jsonl"


class Journal:
    """Rows of a run, kept in a folder.

    Args:
        folder: where `log.jsonl` lies.
        step: the step that the run goes on from: rows of later steps, from a run that was killed, are taken out.
        tensorboard: also write TensorBoard's event files, into `tensorboard` below the folder.

    Raises:
        Unsupported: TensorBoard is wanted and not installed.
        ClipsightError: the disk is full.
    """

    def __init__(self, folder: Path, step: int = 0, tensorboard: bool = False) -> None:
        self.path = folder / LOG
        with self._said():
            _cut(self.path, step)
        self._board = _board(folder / "tensorboard", step) if tensorboard else None

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; it is in the file when this returns.

        Raises:
            ClipsightError: the disk is full.
        """
        with self._said(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(row)) + "\n")
        if self._board is not None:
            for name, value in row.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(name, value, row["step"])

    def _said(self) -> AbstractContextManager[None]:
        return disk_full_said(
            f"The log {self.path}", "Rows and checkpoints of before are untouched, and the run can go on"
        )

    def close(self) -> None:
        """Close TensorBoard's files."""
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log, none where it has not begun; a last line that was cut off is left out."""
    rows: list[dict[str, Any]] = []
    if not (folder / LOG).exists():
        return rows
    for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _cut(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [row for row in read_log(path.parent) if row.get("step", 0) <= step]
    with atomic_write(path, overwrite=True) as file:
        file.write("".join(json.dumps(row) + "\n" for row in kept).encode())


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise Unsupported("TensorBoard is not installed: pip install tensorboard.") from None
    return SummaryWriter(str(folder), purge_step=step + 1)
