"""Where the results of verbs go that write files only when asked to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.options import OUTPUT, OutputOptions
from clipsight.cli.paths import plan_outputs


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class TableOutput(OutputOptions):
    """Where results go; without --out or --format they are only printed."""

    out: Path | None = None
    """Folder for the results, or a .json file name if there is one image."""

    format: Annotated[tuple[Literal["json"], ...], Parameter(show_default=False)] = ()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Write `<image's stem>.<command>.json` to --out, or to the working directory."""

    def plan(self, pictures: Sequence[str], verb: str) -> dict[str, list[Path]]:
        """The files of each picture; none if no files were asked for."""
        if self.out is None and not self.format:
            return {picture: [] for picture in pictures}
        return plan_outputs(pictures, verb, self, formats=("json",))
