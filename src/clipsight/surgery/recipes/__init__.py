"""One file per paper; each names its source, its published numbers with grade, and what is different here."""

from clipsight.surgery.recipes.clip import CLIP
from clipsight.surgery.recipes.clip_surgery import CLIP_SURGERY

BUILT_IN = (CLIP, CLIP_SURGERY)
