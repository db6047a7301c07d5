"""The command line: one module a command; each parses, calls the library and reports."""

from __future__ import annotations

import sys

from repsim.errors import MissingLibraryError
from repsim.lazy import imported


def run() -> None:
    """Run the command line; never returns. In one line where a library is missing that it needs."""
    try:
        main = imported("repsim.cli.main", "the command line").main
    except MissingLibraryError as error:
        sys.exit(f"repsim: error: {error}")
    main()
