"""Where the store of this user is, and whether there is one."""

import os
import sys
from pathlib import Path

from clipsight.store.store import Store

VARIABLE = "CLIPSIGHT_CACHE"
"""Environment variable with the folder; "off" or nothing in it: nothing is kept on disk."""

LIMIT = 256 * 2**20
"""Most bytes of the account's own folder, which nobody asked for."""

NAMED_LIMIT = 32 * 2**30
"""Most bytes of a folder that somebody named, such as that of a benchmark's features."""


def cache_path() -> Path | None:
    """The folder that the environment asks for, None where it says off; it need not exist."""
    said = os.environ.get(VARIABLE)
    if said is not None:
        return None if said.strip().lower() in ("", "off") else Path(said).expanduser()
    home = Path(os.path.expanduser("~"))
    if not home.is_absolute():
        return None  # an account without a home, as in some containers
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "clipsight" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "clipsight"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "clipsight"


def open_store() -> Store | None:
    """The store that the environment asks for, None where it says off."""
    path = cache_path()
    return None if path is None else Store(path, LIMIT)
