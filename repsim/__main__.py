"""``python -m repsim``."""

from repsim.cli.main import main

main()
