"""Training data: examples by number, and batches of them; `opening.open_examples` opens any by name."""
