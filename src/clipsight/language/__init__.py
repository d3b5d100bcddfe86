"""Texts on their way to the text tower: prompt templates, tokens, words and their positions."""
