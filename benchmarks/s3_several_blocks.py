"""S3: patch features of SC-CLIP and of ResCLIP's first pass against open_clip's `encode_image`; target <= 1.15."""

from recipes import compare

compare("S3", {"sc_clip": 1.15, "resclip.naclip": 1.15})
