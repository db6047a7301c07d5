"""Training, from a configuration to a run on disk.

``loop`` trains a run, ``trainer`` an epoch of it, ``methods`` has one module a method. Around them:
``config``, ``compose`` (with the settings of a family of networks) and ``presets``; ``loaders``
(images to the device); ``optimizers``, ``schedules``, ``losses`` and ``ema``; ``parallel`` and
``batchnorm`` (several processes); ``metrics``; ``observing``, ``image_grid`` and ``mode_collapse``
(generated images); ``run`` (reading a run), ``earlier`` (of another version) and ``run_lock``.
"""
