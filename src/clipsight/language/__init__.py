"""Words on their way to the text tower: prompt templates, tokens, encoding, a cache of what was encoded."""
