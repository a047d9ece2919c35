"""What can go wrong between a client and a server, in words a user can act on.

A caller branches on the class; `retryable` says whether the same call may succeed later without any change.
No message ever contains the bearer key.
"""


class ClientError(Exception):
    """A call or a connection that did not come to its result."""

    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnreachableError(ClientError):
    """Nothing answered at the URL, or the connection was cut before the answer was whole."""

    retryable = True


class CallTimeoutError(ClientError):
    """The server did not answer before the deadline."""

    retryable = True


class RefusedError(ClientError):
    """The server answered with an HTTP refusal instead of a result."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnauthorizedError(RefusedError):
    """The key is missing, unknown, or not enough for this call (401, 403)."""


class UnavailableError(RefusedError):
    """The server is up but will not serve now (429, 502, 503, 504, or a refusal within a session)."""

    retryable = True

    def __init__(self, message: str, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, status)
        self.retry_after_seconds = retry_after_seconds


class ProtocolError(ClientError):
    """The server answered with a JSON-RPC error: an unknown tool, bad parameters, a fault of its own."""

    def __init__(self, message: str, code: int, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data
