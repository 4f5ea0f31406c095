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
    "a Slack token": r"\bxox[a-z]-[\w-]{10,}|\bhooks\.slack\.com/services/T\w+/B\w+/\w+",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "a PyPI token": r"\bpypi-AgE[\w-]{50,}",
    "a Stripe key": r"\b[rs]k_(live|test)_[A-Za-z0-9]{16,}",
    "a Google API key": r"\bAIza[\w-]{35}(?![\w-])",
    "a SendGrid key": r"\bSG\.[\w-]{16,}\.[\w-]{16,}",
    "a JSON Web Token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    # A commit id has the same length but no capitals, and a path has few capitals and digits.
    "an AWS secret key": r"(?<![\w/+=.-])(?=(?:[a-z0-9/+]*[A-Z]){8})(?=(?:[A-Z0-9/+]*[a-z]){8})"
    r"(?=[A-Za-z/+]*[0-9])[A-Za-z0-9/+]{40}(?![\w/+=.-])",
    # Not a placeholder such as ${PASSWORD}, {password} or <password>.
    "a URL with a password": r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:(?![$<{*])[^\s/@]+@",
}


def credential(text: str) -> str | None:
    """The kind of credential that a text contains, or None."""
    return next((kind for kind, form in FORMS.items() if re.search(form, text)), None)
