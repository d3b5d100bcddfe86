"""A session with one model: encode a picture once, ask many questions."""
