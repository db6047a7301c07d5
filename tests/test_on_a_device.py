"""The library on a device without hardware, in processes of their own: see ``simulated_device``.

A device is there for the whole process and changes some functions of torch, so that each part runs
in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from simulated_device import SETUP, lacking
from torch.utils import backend_registration

HERE = Path(__file__).parent


@pytest.mark.skipif(not hasattr(backend_registration, SETUP), reason=lacking())
@pytest.mark.parametrize("part", ["engine", "networks", "probes", "training"])
def test_on_a_device(part: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(HERE / f"device_{part}.py")], capture_output=True, text=True, cwd=HERE.parent
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
