"""The refusals that ask a client to show who it is.

Owns what the 401 response says: status, challenge, JSON-RPC body. Promises that nothing of what the client sent is repeated, and that a
client that showed nothing is not told it showed something bad. Leaves the headers that describe the body to whoever sends it.

Source: RFC 6750, section 3; MCP authorization, "Error Handling".
"""

import json
from dataclasses import dataclass
from typing import Final

CODE_UNAUTHORIZED: Final = -32001
"""JSON-RPC error code of a request that is refused for want of a valid key."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A refusal: what it adds to the response's headers, and the JSON that is its body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def _challenge(parameters: str, message: str) -> Challenge:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": CODE_UNAUTHORIZED, "message": message}}
    body = json.dumps(error, separators=(",", ":")).encode()
    headers = (
        (b"www-authenticate", f'Bearer realm="moorage"{parameters}'.encode()),
        (b"cache-control", b"no-store"),
    )
    return Challenge(401, headers, body)


MISSING: Final = _challenge("", "Authentication required: send an API key as 'Authorization: Bearer KEY'")
INVALID: Final = _challenge(', error="invalid_token", error_description="The API key is not valid"', "The API key is not valid")
