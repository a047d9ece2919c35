"""The second port: probes, metrics and version, for the platform alone."""
