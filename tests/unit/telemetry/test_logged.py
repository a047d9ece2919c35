"""Tests that read the log do not depend on what ran before them."""

import io

import pytest
import structlog

from moorage.telemetry import logs
from tests.logged import logged


@pytest.mark.parametrize("level", ["debug", "error"])
def test_what_is_logged_is_read_even_if_the_logger_was_used_before(log_stream: io.StringIO, level: logs.Level):
    logs.configure(level, "json", log_stream)
    log = structlog.get_logger("moorage.test")
    log.error("before")
    with logged() as events:
        log.info("meanwhile", ships=3)
    log.error("after")
    log.info("minor")

    assert events == [{"event": "meanwhile", "ships": 3, "log_level": "info"}]
    written = log_stream.getvalue()
    assert [f'"{word}"' in written for word in ("before", "meanwhile", "after", "minor")] == [True, False, True, level == "debug"]
