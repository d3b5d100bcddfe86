"""Names of VG-Relation that its macro average leaves out, by ARO's notebook and by MACCO's evaluation.

They are in `clipsight/assets/vg_relations_left_out.toml`, with their sources.
"""

import tomllib
from importlib.resources import files

_LISTS = tomllib.loads(
    (files("clipsight") / "assets" / "vg_relations_left_out.toml").read_text(encoding="utf-8")
)
NOTEBOOK: frozenset[str] = frozenset(_LISTS["notebook"]["names"])
MACCO: frozenset[str] = NOTEBOOK | frozenset(_LISTS["macco"]["names"])
