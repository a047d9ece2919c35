"""The Redis or Valkey that replicas share. The only room that imports a client for it.

`client` connects and bounds every wait, `sessions` holds ownership and the event log, `owners` the liveness of processes, `bus` the change
notices. Each state change is one Lua script under `scripts/`; all keys of a session carry one hash tag, so that it lies in one slot of a
cluster, and every key has a time to live.
"""
