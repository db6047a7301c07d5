"""Types of panels, one module each.

A module that lies here defines a ``Panel`` with a ``type``; nothing else has to know of it.
"""

import importlib
import pkgutil

from repsim.moved import moved_names

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

__getattr__ = moved_names(__name__)
