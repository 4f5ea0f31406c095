"""The rule for the names of components."""

import re

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check_name(kind: str, name: str, longest: int = 40) -> None:
    """Raise ValueError if a resource that is named after the component would have an invalid name.

    Children add a word to the name, and Pulumi adds 8 characters to generated names. IAM, Lambda and EventBridge allow
    64 in total; S3 and Elastic Load Balancing allow no capitals or no underscores.
    """
    if not NAME.fullmatch(name) or not 2 <= len(name) <= longest:
        raise ValueError(
            f"a {kind}'s name must be 2 to {longest} characters of a-z 0-9 and single - between them, "
            f"starting with a letter, got {name!r}"
        )
