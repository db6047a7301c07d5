"""Training, from a configuration to a run on disk.

``loop`` trains a run, ``trainer`` an epoch of it, ``methods`` has one module a method. Around them:
``config`` and ``presets``, ``feeding`` (images to the device), ``stepping`` (optimisers, averages),
``parallel`` and ``batchnorm`` (several processes), ``metrics``, ``observing`` (what generators
make), ``claims`` (who may write) and ``run`` (what can be read back).
"""
