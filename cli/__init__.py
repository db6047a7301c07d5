"""The command line: one module a command; each parses, calls the library and reports."""

from __future__ import annotations


def run() -> None:
    """Run the command line; never returns. In one line where a library is missing that it needs."""
    import sys

    try:
        from repsim.cli.main import main
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("repsim."):
            raise
        sys.exit(
            f"repsim: error: the command line needs {error.name}, which is not installed; try: pip "
            f"install {error.name}, or repsim-toolkit with its dependencies"
        )
    main()
