"""The life of one process: its phase, the order in which it drains, and the signals that start the drain."""
