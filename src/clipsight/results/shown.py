"""How every result is displayed in a terminal and in a notebook."""

import os
import sys
from typing import TYPE_CHECKING, Any

from PIL import Image

from clipsight.draw import png_bytes, printable
from clipsight.report import data_uri, render

from .io import json_bytes

if TYPE_CHECKING:
    from .provenance import Provenance

NOTEBOOK_WIDTH = 1100  # of the sheet in a notebook: small enough to keep, large enough to read


class Shown:
    """Shows itself by its sheet, `grid()`, and by its verdicts, `lines()`."""

    provenance: "Provenance"

    def grid(self) -> Image.Image:
        """One labelled sheet with everything that is to be seen, RGB."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """The verdicts for a terminal, a line each; control characters of texts are escaped."""
        raise NotImplementedError

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
