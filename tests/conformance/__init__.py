"""The official MCP conformance suite against `moorage serve`: `make conformance` or `python -m tests.conformance [MODE...]`.

`target.py` is the server that the suite wants to find, `modes.py` serves it in one process and by three replicas behind a round robin,
`suite.py` installs and runs the suite. `expected-failures-MODE.yaml` lists the scenarios that fail and why; a failure that is not on it
is an error, and so is one on it that no longer happens.
"""
