"""The public door: what may come in, and in which order that is decided."""
