"""The verbs of the command line. A module of this package adds one by decorating a function with `verb`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from pkgutil import iter_modules
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., int])


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command: what it is called, where it stands in the list, and the function that runs it."""

    name: str
    place: int
    run: Callable[..., int]
    group: str = ""

    @property
    def summary(self) -> str:
        """The line that lists of commands show."""
        return cleandoc(self.run.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True, kw_only=True)
class VerbGroup:
    """A command that has commands of its own, such as `bench`."""

    name: str
    place: int
    summary: str


_VERBS: dict[str, Verb] = {}
_GROUPS: dict[str, VerbGroup] = {}


def verb(place: int, *, group: str = "") -> Callable[[F], F]:
    """Make a function a command, called as the function is.

    Args:
        place: order in the list of commands. group: the `verb_group` it belongs to.

    Raises:
        ValueError: the name is taken.
    """

    def register(run: F) -> F:
        key = f"{group} {run.__name__}".strip()
        if key in _VERBS:
            raise ValueError(f"two commands are called {key!r}.")
        _VERBS[key] = Verb(name=run.__name__, place=place, run=run, group=group)
        return run

    return register


def verb_group(name: str, place: int, summary: str) -> str:
    """Declare a command that has commands of its own, and return its name for `verb`."""
    _GROUPS[name] = VerbGroup(name=name, place=place, summary=summary)
    return name


def verbs() -> tuple[tuple[Verb, ...], tuple[VerbGroup, ...]]:
    """All commands and groups of commands, in order; every module of this package is imported first."""
    import clipsight.cli

    for module in iter_modules(clipsight.cli.__path__):
        if not module.name.startswith("_"):
            import_module(f"clipsight.cli.{module.name}")
    return (
        tuple(sorted(_VERBS.values(), key=lambda one: one.place)),
        tuple(sorted(_GROUPS.values(), key=lambda one: one.place)),
    )
