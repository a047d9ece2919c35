"""What every suite shares: how property-based tests choose their inputs, and how a failure is told."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# No deadline: tests assert no elapsed time. No database: a failure prints the blob that repeats it, and runs leave nothing behind.
settings.register_profile("moorage", deadline=None, database=None, print_blob=True, max_examples=100)
settings.load_profile("moorage")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in a report: xdist sends it as UTF-8, and would end the whole run in place of one test."""
    report = yield
    if report.longrepr is not None and not _is_utf8(str(report.longrepr)):
        report.longrepr = _escaped(report.longrepr)
    report.sections = [(title, _escaped(text)) for title, text in report.sections]
    return report


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(text: Any) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode()
