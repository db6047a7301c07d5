"""``python -m repsim``."""

from repsim.cli import run

run()
