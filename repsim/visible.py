"""Text that others wrote, as a terminal may show it: no control characters, no endless lines."""

from __future__ import annotations

import re

#: Most signs of a message.
LONGEST = 1000

#: Controls, and marks that turn the direction of text around; line feeds and tabs are dealt with
#: apart.
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""The text with control characters as escapes, ``\x1b``; its lines and tabs stay."""
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text on one line, visible, with its middle left out where it is longer than ``longest``.

    The end stays, since a message ends with the remedy.
    """
    line = visible(" ".join(text.splitlines()) if "\n" in text else text).replace("\t", " ")
    if len(line) <= longest:
        return line
    tail = longest // 3
    return f"{line[: longest - tail - 5]} ... {line[len(line) - tail :]}"


def shown(value: object, longest: int = 80) -> str:
    """The ``repr`` of a value from a file, for a message."""
    try:
        return one_line(repr(value), longest)
    except (RecursionError, ValueError):  # nested deeply, or a number of very many digits
        return f"a {type(value).__name__}"
