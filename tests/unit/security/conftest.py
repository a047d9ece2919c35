"""A test that ran before in this process may have configured logging for good: loggers are cached with the level of their first use."""

import pytest
import structlog

from moorage.security import api_keys, keyring


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    for module in (api_keys, keyring):
        monkeypatch.setattr(module, "_log", structlog.get_logger("moorage.security"))
