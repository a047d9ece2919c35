"""The address of a door is a host and a port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.store.address import joined, parse


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("10.0.0.7", 9191, "10.0.0.7:9191"),
        ("tools-0.tools.svc", 1, "tools-0.tools.svc:1"),
        ("localhost", 65535, "localhost:65535"),
        ("::1", 9191, "[::1]:9191"),
        ("[fd00::7]", 9191, "[fd00::7]:9191"),
    ],
)
def test_what_a_replica_says_of_itself_is_read_by_the_others(host: str, port: int, address: str):
    assert joined(host, port) == address
    assert parse(address) == (host.strip("[]"), port)


@given(text=st.text(alphabet="a1.:[]@/?#% \n\\é-", max_size=12))
def test_whatever_else_stands_there_is_either_none_or_comes_back_as_it_was(text: str):
    place = parse(text)
    assert place is None or joined(*place) == text
    assert place is None or not set("@/?#% \n\\[]é") & set(place[0])
