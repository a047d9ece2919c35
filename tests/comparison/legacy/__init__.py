"""The session era (2025-03-26, 2025-06-18, 2025-11-25) as scripts: what a client does, and the transcript of what it got.

Transcripts hold statuses and JSON-RPC messages, not media types: an endpoint may answer JSON where the SDK answers an event
stream with one event. Session ids and the ids of the server's own requests are replaced by a word.
"""

from __future__ import annotations

from . import calls, conversations, repeated, sessions

SCRIPTS = (*calls.SCRIPTS, *repeated.SCRIPTS, *sessions.SCRIPTS, *conversations.SCRIPTS)
