"""Types of panels, one module each.

A module that lies here defines a ``Panel`` with a ``type``; nothing else has to know of it.
"""

from repsim.discovery import import_all
from repsim.moved import moved_names

import_all(__name__)

__getattr__ = moved_names(__name__)
