"""Sessions that belong to the deployment and not to a process: what their ids carry, who owns one, what others may read of it.

Leaves the protocol, and with it the SDK, to `protocol`.
"""
