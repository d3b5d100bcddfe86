"""Results of earlier computations, kept on disk between runs: one store for all of them."""

from clipsight.store.keys import Facts, code_of, content_hash, file_stamp, key_of
from clipsight.store.place import LIMIT, NAMED_LIMIT, VARIABLE, cache_path, open_store
from clipsight.store.store import Store

__all__ = [
    "LIMIT",
    "NAMED_LIMIT",
    "VARIABLE",
    "Facts",
    "Store",
    "cache_path",
    "code_of",
    "content_hash",
    "file_stamp",
    "key_of",
    "open_store",
]
