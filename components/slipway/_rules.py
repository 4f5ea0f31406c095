"""The rule of the names that components may have."""

import re

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check_name(kind: str, name: str, longest: int = 40) -> None:
    """Raise ValueError if not everything that is called after a component could have its name.

    Children add a word to it, and Pulumi adds 8 characters to the names that it makes up, while IAM, Lambda and
    EventBridge take 64 in all; S3 and Elastic Load Balancing take no capitals or no underscores.
    """
    if not NAME.fullmatch(name) or not 2 <= len(name) <= longest:
        raise ValueError(
            f"a {kind}'s name must be 2 to {longest} characters of a-z 0-9 and single - between them, "
            f"starting with a letter, got {name!r}"
        )
