"""Image sets as tensors: named sets, folders and ``.npz`` files, their splits, and augmentation.

``repsim.data.fetch`` downloads and ``repsim.data.augment`` transforms; both are imported by name.
"""

from repsim.data.catalog import load
from repsim.data.imageset import ImageSet, to_input
from repsim.data.sets import find_set, set_names
from repsim.data.splits import Split
from repsim.data.targets import Target

__all__ = ["ImageSet", "Split", "Target", "find_set", "load", "set_names", "to_input"]
