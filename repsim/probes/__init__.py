"""Probes: how much a layer knows, read off by a simple classifier on frozen features."""

from repsim.probes.probe import ProbeResult, probe, stratified_split

__all__ = ["ProbeResult", "probe", "stratified_split"]
