"""The rule tagger, in the order in which it works: words, parts of speech, phrases, roles, links."""
