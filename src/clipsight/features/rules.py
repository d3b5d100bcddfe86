"""The error message of a broken rule of the recipe language."""


def broken(rule: str, got: str, cause: str, instead: str) -> ValueError:
    """The error of a recipe that cannot run: which rule, what was written, why not, what to write."""
    return ValueError(f"recipe rule {rule!r} is broken: got {got}, but {cause}. Write {instead}.")
