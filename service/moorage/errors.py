"""The faults that end a start, and what each promises about its text.

Owns the root of the error hierarchy. Promises that `message` and `hint` are safe to show to whoever runs the command: no secret, no
traceback, one line per problem. Leaves expected outcomes of a request (a refusal, a gone session) to the rooms, where they are values.
"""

from typing import Final

EXIT_USAGE: Final = 2
"""Exit status of a command that was told something it cannot work with."""


class MoorageError(Exception):
    """A fault that moorage can explain.

    Attributes:
        message: What is wrong, naming the thing that is wrong.
        hint: What to do about it; empty when the message says so already.
    """

    exit_code: int = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(MoorageError):
    """The settings cannot be used as they are."""

    exit_code = EXIT_USAGE


class TargetError(MoorageError):
    """The target cannot be loaded, or is not an MCP server."""

    exit_code = EXIT_USAGE
