"""The cases, in an order in which those that share a stage follow each other."""

from __future__ import annotations

from tests.chaos.cases import attacks, exhausted, owner, readers, resume, rolling, store, tenants
from tests.chaos.run import Case

CASES: tuple[Case, ...] = (
    *resume.CASES,
    *tenants.CASES,
    *readers.CASES,
    *rolling.CASES,
    *owner.CASES,
    *store.CASES,
    *attacks.CASES,
    *exhausted.CASES,
)
