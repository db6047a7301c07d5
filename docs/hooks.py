"""Shows mkdocstrings the package as users see it: repsim/activations and so on inside repsim/.

In the checkout these folders lie beside repsim/ (see ``[tool.setuptools.package-dir]``), where a
tool that reads sources without importing them does not find them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("activations", "figures", "cli")

_tree = tempfile.TemporaryDirectory(prefix="repsim-docs-")


@event_priority(100)  # before mkdocstrings reads its paths
def on_config(config: Any) -> Any:
    """Point mkdocstrings at a tree of links that has the shape of an installed package."""
    package = Path(_tree.name) / "repsim"
    package.mkdir(exist_ok=True)
    for path in [*(ROOT / "repsim").iterdir(), *(ROOT / folder for folder in FOLDERS)]:
        link = package / path.name
        if path.name != "__pycache__" and not link.exists():
            link.symlink_to(path)
    handlers = config.plugins["mkdocstrings"].config.handlers
    handlers.setdefault("python", {})["paths"] = [_tree.name]
    return config
