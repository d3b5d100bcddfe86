"""What one does with a picture, measured on the held-out emoji world: one file a task.

Every figure comes from the calls that a user makes (`Lens.segment`, `Lens.tag`, `Explanation.points`, `Lens.anomaly`,
`Lens.sentence`) on scenes whose pixels are known. Every module of this folder is read, and what it calls `TASKS` is
registered: a new task is one new file.
"""

from importlib import import_module
from pkgutil import iter_modules

from clipsight.bench.task import Task


def found() -> tuple[Task, ...]:
    """The tasks of every module of this folder, in the order of the files."""
    return tuple(
        task for module in iter_modules(__path__) for task in import_module(f"{__name__}.{module.name}").TASKS
    )


TASKS = found()
