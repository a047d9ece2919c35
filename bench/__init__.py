"""Measurements beside our peers, on one machine and in one run; ratios count, absolute numbers belong to the machine."""
