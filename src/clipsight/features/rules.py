"""The error message of a broken rule of the recipe language."""


def broken(rule: str, got: str, cause: str, instead: str) -> ValueError:
    """The error for a recipe that cannot run: the rule, what was written, why it is wrong, what to write."""
    return ValueError(f"recipe rule {rule!r} is broken: got {got}, but {cause}. Write {instead}.")
