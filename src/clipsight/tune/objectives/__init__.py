"""Terms of the loss, each with what it needs of a step."""
