"""Recognizes credentials by their format.

A password without a known format is not recognized: a guess by randomness would also refuse harmless values.
"""

from __future__ import annotations

import re

FORMS = {
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
    "a GitHub token": r"\b(gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Slack token": r"\bxox[a-z]-[\w-]{10,}",
    # Not a placeholder such as ${PASSWORD}, {password} or <password>.
    "a URL with a password": r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:(?![$<{*])[^\s/@]+@",
}


def credential(text: str) -> str | None:
    """The kind of credential that a text contains, or None."""
    return next((kind for kind, form in FORMS.items() if re.search(form, text)), None)
