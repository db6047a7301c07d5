"""Measures of similarity between two representations of the same examples."""

from repsim.measures.cka import cka, cka_map
from repsim.measures.kernels import RBF, Linear
from repsim.measures.minibatch import MinibatchCKA

__all__ = ["RBF", "Linear", "MinibatchCKA", "cka", "cka_map"]
