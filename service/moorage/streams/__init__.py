"""Positions in event streams, and whether one can be honoured. Knows no store, no protocol and no socket."""
