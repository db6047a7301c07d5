"""Training: one loop (``loop``), one module a method (``methods``), and runs on disk (``run``)."""
