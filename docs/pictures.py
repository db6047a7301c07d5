"""Pictures of the gallery's panels, made by the code beside them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent


def main() -> None:
    """Run the Python blocks of the gallery, and put the PNGs that they write among the images."""
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    os.environ["MPLBACKEND"] = "agg"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        exec(compile("\n".join(blocks), "docs/gallery.md", "exec"), {})
        for picture in Path(folder).glob("*.png"):
            shutil.copyfile(picture, DOCS / "images" / picture.name)
        os.chdir(DOCS)


if __name__ == "__main__":
    main()
