"""The three ways in which the target is served: one process, and three replicas behind a round robin with and without a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.services import Fleet, Redis, RoundRobin, ServiceError

HERE: Final = Path(__file__).parent
TARGET: Final = "tests.conformance.target:server"


@dataclass(frozen=True, slots=True)
class Mode:
    """One way of serving, and what the suite has to find there."""

    name: str
    replicas: int
    store: bool
    must_pass: int
    """How many scenarios."""
    description: str

    @property
    def expected_failures(self) -> Path:
        return HERE / f"expected-failures-{self.name}.yaml"


MODES: Final = (
    Mode("single", 1, store=False, must_pass=56, description="one process"),
    Mode("store", 3, store=True, must_pass=56, description="three replicas behind a round robin, with Redis"),
    Mode("stateless", 3, store=False, must_pass=52, description="three replicas behind a round robin, without a store"),
)


@contextmanager
def serving(mode: Mode, log: Path) -> Iterator[str]:
    """Serve the target; gives the endpoint's URL, and insists that every replica had its share and ends cleanly.

    Raises:
        ServiceError: Something does not run, or was not used, or did not end as it should.
    """
    with ExitStack() as stack:
        store = stack.enter_context(Redis()) if mode.store else None
        fleet = Fleet(TARGET, size=mode.replicas, store_url=store and store.url)
        stack.callback(_write, log, fleet)
        stack.enter_context(fleet)
        if mode.replicas == 1:
            yield f"{fleet[0].url}/mcp"
        else:
            balancer = stack.enter_context(RoundRobin(fleet.backends))
            yield f"{balancer.url}/mcp"
            shares = balancer.shares()
            print(f"  requests of each replica: {', '.join(map(str, shares))}")
            if max(shares) - min(shares) > max(shares) / 2:
                raise ServiceError(f"the requests did not go round: {shares}")
        _end(fleet)


def _end(fleet: Fleet) -> None:
    for replica in fleet.replicas:
        replica.terminate()
    for replica in fleet.replicas:
        if (status := replica.exited()) != 0:
            raise ServiceError(f"replica {replica.number} exited with status {status} after SIGTERM:\n{replica.log[-3000:]}")


def _write(log: Path, fleet: Fleet) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(fleet.log)
