"""One file per paper; each names its source, its published numbers with grade, and what is different here.

Every module of this folder is read, and what it calls `RECIPES` is registered: a new paper is one new file.
"""

from importlib import import_module
from pkgutil import iter_modules

BUILT_IN = tuple(
    recipe for found in iter_modules(__path__) for recipe in import_module(f"{__name__}.{found.name}").RECIPES
)
