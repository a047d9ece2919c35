"""A client for MCP servers in both protocol eras; the service never imports it, and it never imports the service."""

from moorage.client.errors import (
    CallTimeoutError,
    ClientError,
    ProtocolError,
    RefusedError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
)
from moorage.client.session import Progress, Question, Session, connect

__all__ = [
    "CallTimeoutError",
    "ClientError",
    "Progress",
    "ProtocolError",
    "Question",
    "RefusedError",
    "Session",
    "UnauthorizedError",
    "UnavailableError",
    "UnreachableError",
    "connect",
]
