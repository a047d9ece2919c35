"""Clients that no one here wrote, unmodified, each through a round robin of replicas: `make clients` or `python -m tests.clients`.

`target.py` is the server, `stage.py` runs it, `drivers/` holds a small program around each client, `features.py` says what every client
has to be able to do. The client of the Python SDK 1.x lives in an environment of its own (`requirements/clients.txt`, `.venv-clients`),
those of the TypeScript SDK, old and new, in `.cache/clients` (`package-lock.json`).
"""
