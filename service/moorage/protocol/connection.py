"""The SDK's `Connection` of a session that was not opened here: what the client said is typed only when somebody looks at it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.connection import Connection
from mcp_types import ClientCapabilities, InitializeRequestParams
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.shared.dispatcher import Outbound

    from moorage.sessions.identity import SessionRecord


class SessionConnection(Connection):
    """A connection that is made from a session's record.

    Most calls never look at the client's parameters, and their typed form takes several kibibytes. The exit stack, too, is
    made when the first handler pushes something on it, and the event when somebody waits for it.
    """

    def __init__(self, outbound: Outbound, session_id: str, record: SessionRecord) -> None:
        self._raw = record.client
        self._typed: InitializeRequestParams | None = None
        self._stack: AsyncExitStack | None = None
        self._initialized: anyio.Event | None = None
        super().__init__(outbound, protocol_version=record.version, session_id=session_id)

    @property
    def client_params(self) -> InitializeRequestParams | None:
        """See `Connection`."""
        if self._typed is None:
            self._typed = InitializeRequestParams.model_validate({**self._raw, "protocolVersion": self.protocol_version}, by_name=False)
        return self._typed

    @client_params.setter
    def client_params(self, value: InitializeRequestParams | None) -> None:
        if value is not None:  # the base class begins with None
            self._typed = value

    @property
    def client_capabilities(self) -> ClientCapabilities | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See `Connection`."""
        params = self.client_params
        return None if params is None else params.capabilities

    @client_capabilities.setter
    def client_capabilities(self, value: ClientCapabilities | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Follows from the parameters."""

    @property
    def initialize_accepted(self) -> bool:
        """Whoever has the id has done the handshake."""
        return True

    @property
    def initialized(self) -> anyio.Event:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Set, for the same reason."""
        if self._initialized is None:
            self._initialized = anyio.Event()
            self._initialized.set()
        return self._initialized

    @initialized.setter
    def initialized(self, value: anyio.Event) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Made when it is needed."""

    @property
    def exit_stack(self) -> AsyncExitStack:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See `Connection`."""
        if self._stack is None:
            self._stack = AsyncExitStack()
        return self._stack

    @exit_stack.setter
    def exit_stack(self, value: AsyncExitStack) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Made when it is needed."""

    @property
    def holds_state(self) -> bool:
        """Whether handlers left something in this process that belongs to the session."""
        return self._stack is not None or bool(self.state)


def described_by(params: dict[str, Any] | None) -> dict[str, Any]:
    """What of the parameters of `initialize` a session keeps."""
    return {name: value for name, value in (params or {}).items() if name not in ("protocolVersion", "_meta")}


def negotiated(params: Mapping[str, Any] | None) -> str:
    """The revision that the SDK's handshake will agree on."""
    wanted = (params or {}).get("protocolVersion")
    return wanted if isinstance(wanted, str) and wanted in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION
