"""Training, from a configuration to a run on disk.

``loop`` trains a run, ``trainer`` an epoch of it, ``methods`` has one module a method. Around them:
``config`` and ``presets``, ``loaders`` (images to the device), ``stepping`` (optimisers, averages),
``parallel`` and ``batchnorm`` (several processes), ``metrics``, ``observing`` (images of
generators), ``run_lock`` (the right to write) and ``run`` (a run as it is read back).
"""
