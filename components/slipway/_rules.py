"""How the rules of arguments are written: all that are broken are told at once."""


def refuse(*rules: tuple[bool, str]) -> None:
    """Raise one ValueError with a line for each rule that is broken; a line begins with the field's name."""
    broken = [message for wrong, message in rules if wrong]
    if broken:
        raise ValueError("\n".join(broken))
