"""One file per benchmark family; each states where the data come from, how many records there are, and how it counts.

Every module of this folder is read and registers its benchmarks: a new one is one new file.
"""

from importlib import import_module
from pkgutil import iter_modules

for _found in iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")
