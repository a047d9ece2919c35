"""What a process says while it can open no more files: as much as is read, however long it lasts."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from moorage.lifecycle.descriptors import Descriptors
from tests.logged import logged


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_is_said_once_a_minute_though_it_is_looked_at_once_a_second() -> None:
    descriptors = Descriptors()
    with logged() as lines:
        descriptors.look()
        assert lines == []
        with no_descriptor_left():
            for _ in range(60):
                descriptors.look()
        descriptors.look()
    assert [line["event"] for line in lines] == ["descriptors.exhausted"]
