"""Values that are credentials by their form, wherever they stand.

A password that has no form of its own is not found: guessing by how random a text is would refuse what is none.
"""

from __future__ import annotations

import re

FORMS = {
    "an access key of AWS": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
    "a token of GitHub": r"\b(gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a token of GitLab": r"\bglpat-[\w-]{20,}",
    "a token of Slack": r"\bxox[a-z]-[\w-]{10,}",
    # Not a place for one, such as ${PASSWORD}, {password} or <password>.
    "a URL with a password": r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:(?![$<{*])[^\s/@]+@",
}


def credential(text: str) -> str | None:
    """What a text has in it that is a credential by its form, or None."""
    return next((kind for kind, form in FORMS.items() if re.search(form, text)), None)
