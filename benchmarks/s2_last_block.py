"""S2: patch features of the methods that change the last block only against open_clip's `encode_image`.

Targets: NACLIP and ClearCLIP <= 0.97, MaskCLIP <= 1.00, SCLIP <= 1.03; the last two keep the feed-forward network.
"""

from recipes import compare

compare("S2", {"naclip": 0.97, "clearclip": 0.97, "maskclip": 1.0, "sclip": 1.03})
