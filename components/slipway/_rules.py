"""The rules for the names of components, and for their arguments."""

import hashlib
import re

from slipway._constraints import called, got

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check_name(kind: str, name: str, longest: int = 40, shortest: int = 2) -> None:
    """Raise ValueError if a resource that is named after the component would have an invalid name.

    Children add a word to the name, and Pulumi adds 8 characters to generated names. IAM, Lambda and EventBridge allow
    64 in total; S3 and Elastic Load Balancing allow no capitals or no underscores.
    """
    # Pulumi users may pass anything, an Output above all.
    if not isinstance(name, str) or not NAME.fullmatch(name) or not shortest <= len(name) <= longest:
        raise ValueError(
            f"a {kind}'s name must be {shortest} to {longest} characters of a-z 0-9 and single - between them, "
            f"starting with a letter, got {name!r}"
        )


def check_args(args: object, kind: type) -> None:
    """Raise ValueError if `args` is not of the component's class of arguments, but a map or None, for example."""
    if not isinstance(args, kind):
        raise ValueError(f"args must be {called(kind)}{got(args)}")


def shortened(name: str, longest: int) -> str:
    """The name, cut if it is too long and then with a hash, so that names with the same start stay different."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return name if len(name) <= longest else f"{name[: longest - 7].rstrip('-')}-{digest}"
