"""The phrases of captions that have a role, by an extractor; found once for a cache folder.

Captions do not appear there, only their hashes; what is kept belongs to one extractor, one version of it, and the code
that it runs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path

from clipsight.roles.extract import CaptionRoles, Role, extract_roles
from clipsight.store import NAMED_LIMIT, Facts, Store, code_of
from clipsight.tune.data.example import RoleSpan
from clipsight.tune.data.options import Progress
from clipsight.tune.data.processes import in_processes

Spans = tuple[RoleSpan, ...]

_KIND = "roles"
_ASKED: tuple[Role, ...] = ("object", "attribute", "relation")
_CHUNK = 2000


def phrases_of(found: CaptionRoles) -> Spans:
    """The phrases of a caption that have a role, in order; neighbouring words of one role are one phrase."""
    return tuple(sorted((start, end, role) for role in _ASKED for start, end in found.spans(role)))


def find_phrases(
    captions: Sequence[str],
    extractor: str,
    *,
    cache: Path | None = None,
    processes: int = 1,
    progress: Progress | None = None,
) -> tuple[list[Spans], str]:
    """The phrases with a role of each caption, and the extractor's version.

    Args:
        captions: repeated ones are read once. extractor: id, see `clipsight.roles.extract`.
        cache: folder where they are kept; None keeps nothing.
        processes: how many read captions. progress: told of captions that were not found there.

    Raises:
        Unsupported: the extractor's package is not installed.
    """
    version = extract_roles("a red dog", extractor).version
    hashes = {caption: blake2b(caption.encode(), digest_size=16).hexdigest() for caption in captions}
    store = None if cache is None else Store(cache, NAMED_LIMIT)
    facts = {"extractor": extractor, "version": version, "code": code_of("language", "roles")}
    known: dict[str, Spans] = {}
    for pack in () if store is None else _packs(store, facts):
        known.update(pack)
    missing = [caption for caption, mark in hashes.items() if mark not in known]
    jobs = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    done = 0
    found = in_processes(partial(_read, extractor=extractor), jobs, processes)
    for job, spans in zip(jobs, found, strict=True):
        new = {hashes[caption]: one for caption, one in zip(job, spans, strict=True)}
        known.update(new)
        if store is not None:
            store.add(_KIND, facts, json.dumps(new).encode())
        done += len(job)
        if progress is not None:
            progress("roles", done, len(missing))
    return [known[hashes[caption]] for caption in captions], version


def _packs(store: Store, facts: Facts) -> Iterator[Mapping[str, Spans]]:
    for pack in store.packs(_KIND, facts):
        try:
            yield {
                mark: tuple((int(a), int(b), str(role)) for a, b, role in spans)
                for mark, spans in json.loads(pack).items()
            }
        except (ValueError, TypeError, AttributeError):
            store.reject()


def _read(captions: Sequence[str], extractor: str) -> list[Spans]:
    return [phrases_of(extract_roles(caption, extractor)) for caption in captions]
