"""The source of a method, and the numbers published for it."""

from dataclasses import dataclass
from typing import Literal

Grade = Literal["read", "second-hand", "derived"]
"""`read`: in the method's own repository, code or result image. `second-hand`: from another paper's table.
`derived`: by arithmetic from listed numbers."""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """The source of a method, and the commit at which its code was read."""

    title: str
    arxiv: str
    venue: str
    repository: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """A number that others published for the method; never our own."""

    benchmark: str
    metric: str
    value: float
    setting: str
    grade: Grade
    where: str


EIGHT = ("VOC21", "PC60", "COCO-Object", "VOC20", "PC59", "COCO-Stuff", "Cityscapes", "ADE20K")
"""The benchmarks of SCLIP's protocol, in the order in which the papers print them."""


def mious(
    values: tuple[float | None, ...],
    *,
    setting: str,
    where: str,
    grade: Grade = "read",
    benchmarks: tuple[str, ...] = EIGHT,
) -> tuple[Published, ...]:
    """One row of a table of mIoU: a `Published` for each benchmark that has a value."""
    return tuple(
        Published(benchmark=name, metric="mIoU", value=value, setting=setting, grade=grade, where=where)
        for name, value in zip(benchmarks, values, strict=True)
        if value is not None
    )
