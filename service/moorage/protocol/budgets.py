"""What one process lets in at a time, of all and of one principal: calls, streams, questions to clients, sessions.

Only what begins something is judged: a request. What lets things end, an answer, a notification, a cancellation, a DELETE, always passes,
or a process full of calls that ask their clients could never be left.

Source: docs/decisions/2026-11-25-budgets.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.limits.room import Places, Room
from moorage.protocol.refusals import SESSIONS, SESSIONS_OF_PRINCIPAL, Refusal, denied

if TYPE_CHECKING:
    from moorage.limits.tenants import Tenants
    from moorage.protocol.call import InFlight
    from moorage.protocol.exchange import HttpExchange
    from moorage.protocol.forward import Underway
    from moorage.settings import Settings


class Budgets:
    """The bounds of one process.

    Attributes:
        streams: The open GET and listen streams, those of other owners' sessions among them.
        questions: What clients were asked and have not answered.
    """

    def __init__(self, settings: Settings, tenants: Tenants, in_flight: InFlight, underway: Underway | None) -> None:
        """Args: `underway` holds the calls that are with other replicas; None without a store."""
        reserve, sessions = settings.tenants.reserve, settings.sessions
        self._in_flight = in_flight
        self._underway = underway
        self._calls = Room(settings.http.max_in_flight, reserve, tenants)
        self._sessions = Room(sessions.max_sessions, reserve, tenants)
        self.streams = Places(Room(sessions.max_streams, reserve, tenants))
        self.questions = Places(Room(sessions.max_questions, reserve, tenants))

    @property
    def calls(self) -> int:
        """How many calls this process holds, those that it has passed on to other replicas among them."""
        return self._in_flight.calls if self._underway is None else self._in_flight.calls + self._underway.calls

    def refuses_call(self, http: HttpExchange) -> Refusal | None:
        """Judge a request. Who holds what is counted only when the process is nearly full: a look at each call that it holds."""
        calls = self.calls
        if calls < self._calls.free:
            return None
        verdict = self._calls.denies(calls, lambda: self._calls_of(principal_of(http)))
        return None if verdict is None else denied("calls", "calls", verdict)

    def refuses_stream(self, http: HttpExchange) -> Refusal | None:
        """Judge a GET or listen stream."""
        verdict = self.streams.denies(principal_of(http))
        return None if verdict is None else denied("open streams", "stream", verdict)

    def refuses_question(self, name: str) -> Refusal | None:
        """Judge a request to a client of this principal."""
        verdict = self.questions.denies(name)
        return None if verdict is None else denied("unanswered questions", "questions", verdict)

    def refuses_session(self, total: int, held: int) -> Refusal | None:
        """Judge a session of a principal that has `held` of the `total` in this process."""
        verdict = self._sessions.denies(total, lambda: held)
        return None if verdict is None else SESSIONS if verdict == "full" else SESSIONS_OF_PRINCIPAL

    def _calls_of(self, name: str) -> int:
        away = 0 if self._underway is None else self._underway.held_by(name)
        return self._in_flight.held_by(name) + away


def principal_of(http: HttpExchange) -> str:
    """The name that what an exchange holds is counted under."""
    return http.principal.name if http.principal is not None else ""
