"""ECR's evaluation of lifecycle policies.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Image:
    tags: frozenset[str]
    age_days: float
    digest: str = ""


def expired(policy: dict[str, Any], images: Iterable[Image], sees_protected: bool = True) -> set[Image]:
    """The images that expire.

    Rules are applied by priority. An image that matches the tagging requirements of a rule cannot be expired by a rule
    of lower priority; the page does not say whether such a rule still counts it: `sees_protected`.
    """
    images = list(images)
    gone: set[Image] = set()
    settled: set[Image] = set()
    for rule in sorted(policy["rules"], key=lambda rule: int(rule["rulePriority"])):
        selection = rule["selection"]
        assert rule["action"] == {"type": "expire"}
        matching = [i for i in images if matches(selection, i) and (sees_protected or i not in settled)]
        matching.sort(key=lambda i: i.age_days)
        if selection["countType"] == "imageCountMoreThan":
            assert "countUnit" not in selection
            chosen = matching[selection["countNumber"] :]
        else:
            assert (selection["countType"], selection["countUnit"]) == ("sinceImagePushed", "days")
            chosen = [i for i in matching if i.age_days > selection["countNumber"]]
        gone |= {i for i in chosen if i not in settled}
        if selection["tagStatus"] != "any":
            settled |= set(matching)
    return gone


def matches(selection: dict[str, Any], candidate: Image) -> bool:
    if selection["tagStatus"] == "tagged":
        patterns = [f"{prefix}*" for prefix in selection.get("tagPrefixList", [])] or selection["tagPatternList"]
        return all(any(fnmatchcase(tag, pattern) for tag in candidate.tags) for pattern in patterns)
    return selection["tagStatus"] == "any" or not candidate.tags
