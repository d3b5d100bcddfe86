"""How every result is displayed in a terminal and in a notebook."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from clipsight.draw import png_bytes, printable
from clipsight.report import data_uri, render

from .io import atomic_write, json_bytes, suffix_of, write_npz

if TYPE_CHECKING:
    from .provenance import Provenance

NOTEBOOK_WIDTH = 1100  # of the sheet in a notebook: small enough to keep, large enough to read


class Shown(ABC):
    """Shows itself by its sheet, `grid()`, and by its verdicts, `lines()`."""

    provenance: "Provenance"

    @abstractmethod
    def grid(self) -> Image.Image:
        """One labelled sheet with everything that is to be seen, RGB."""

    @abstractmethod
    def lines(self) -> list[str]:
        """The verdicts for a terminal, a line each; control characters of texts are escaped."""

    def show(self) -> None:
        """Show the result where you are.

        In a notebook: its sheet. In a terminal: its verdicts, printed, and the sheet in the system's picture viewer if
        there is a screen. A program whose output is not a terminal gets the verdicts alone.
        """
        if _in_notebook():
            from IPython.display import display  # pyright: ignore[reportMissingImports]

            display(self)
            return
        from rich.console import Console

        console = Console(highlight=False, markup=False, soft_wrap=True)
        for line in self.lines():
            console.print(line)
        if console.is_terminal and _has_screen():
            self.grid().show()

    def _settings(self) -> dict[str, Any]:
        """What a drawing of it carries inside its file: how it was made."""
        return self.provenance.to_dict()

    def _write(self: Any, path: str | os.PathLike[str], suffixes: Sequence[str], overwrite: bool) -> Path:
        """Write the sheet (.png), the page (.html), plain data (.json) or everything (.npz), by the suffix."""
        suffix = suffix_of(path, tuple(suffixes))
        with atomic_write(path, overwrite=overwrite) as file:
            match suffix:
                case ".npz":
                    write_npz(file, self._meta(), self._arrays())
                case ".json":
                    file.write(json_bytes(self.to_dict()))
                case ".html":
                    file.write(self.to_html().encode("utf-8", "backslashreplace"))
                case _:
                    file.write(self._png())
        return Path(path)

    def _png(self) -> bytes:
        return png_bytes(self.grid(), json_bytes(self._settings()).decode().strip())

    def _repr_png_(self) -> bytes:
        return self._png()

    def _repr_html_(self) -> str:
        sheet = self.grid()
        sheet.thumbnail((NOTEBOOK_WIDTH, 4 * NOTEBOOK_WIDTH))
        return render(
            "sheet.notebook.j2",
            alt=printable(repr(self)),
            image=data_uri(sheet, "JPEG"),
            made=self.provenance.rows(),
        )


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
