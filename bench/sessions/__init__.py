"""Sessions of the handshake era: what their calls, their memory, the way to another replica and a lost replica cost."""
