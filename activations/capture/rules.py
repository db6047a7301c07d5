"""Rules for layers and inputs, ``PATTERN=VALUE``: the first that matches an address counts."""

from __future__ import annotations

from fnmatch import fnmatchcase


def pair(rule: str) -> tuple[str, str]:
    """The pattern and the value of a rule; a value alone is for every address."""
    pattern, _, value = rule.rpartition("=")
    return pattern.strip() or "*", value


def matches(pattern: str, address: str) -> bool:
    """True if a pattern is an address, or a glob that matches it."""
    return pattern == address or fnmatchcase(address, pattern)
