"""Probes: how much a layer knows, read off by a simple classifier on frozen features."""

from repsim.probes.features import Features
from repsim.probes.probe import SOLVERS, ProbeResult, Trial, probe
from repsim.probes.schedules import SCHEDULES, Schedule
from repsim.probes.signal import Signal, measured_signal
from repsim.probes.splits import stratified_split

__all__ = [
    "SCHEDULES",
    "SOLVERS",
    "Features",
    "ProbeResult",
    "Schedule",
    "Signal",
    "Trial",
    "measured_signal",
    "probe",
    "stratified_split",
]
