"""The official MCP conformance suite against `moorage serve`, one process: `make conformance` or `python -m tests.conformance`.

`target.py` is the server that the suite wants to find, `suite.py` installs and runs the suite, `expected-failures.yaml` lists the
scenarios that fail and why; a failure that is not on it is an error, and so is one on it that no longer happens.
"""
