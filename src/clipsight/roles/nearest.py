"""Links and relations for extractors that only tag: each word belongs to the nearest noun."""

from collections.abc import Sequence

from clipsight.roles.schema import Role, RoleRelation


def nearest_links(roles: Sequence[Role]) -> tuple[tuple[int, int], ...]:
    """Link each attribute to the last noun of the next run of nouns or, if none follows, to the noun before it."""
    heads = _heads(roles)
    found = []
    for i, role in enumerate(roles):
        if role == "attribute" and heads:
            after = [head for head in heads if head > i]
            found.append((i, after[0] if after else heads[-1]))
    return tuple(found)


def nearest_relations(roles: Sequence[Role]) -> tuple[RoleRelation, ...]:
    """Each run of relation words between the nouns on both sides of it; words with other roles in between end the
    run.
    """
    heads = _heads(roles)
    found = []
    i = 0
    while i < len(roles):
        j = i
        while j < len(roles) and roles[j] == "relation":
            j += 1
        if j > i:
            before = [head for head in heads if head < i]
            after = [head for head in heads if head >= j]
            found.append(
                RoleRelation(
                    subject=before[-1] if before else None,
                    words=tuple(range(i, j)),
                    object=after[0] if after else None,
                )
            )
        i = max(j, i + 1)
    return tuple(found)


def _heads(roles: Sequence[Role]) -> list[int]:
    """The last word of each run of nouns."""
    return [
        i for i, role in enumerate(roles) if role == "object" and tuple(roles[i + 1 : i + 2]) != ("object",)
    ]
