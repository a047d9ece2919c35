"""How often each key has sealed is known, and a rotation that is due is said long before a key is used up."""

from __future__ import annotations

import base64
from pathlib import Path

import anyio
import httpx2 as httpx
import pytest
from mcp.server.mcpserver import MCPServer
from structlog.testing import CapturingLogger

from moorage.app import create_app
from moorage.security.keyring import SealingKeys
from moorage.security.rotation import MOST_SEALED, Rotation
from moorage.settings import Settings
from tests.comparison.wire import lifespan
from tests.services import free_ports

OLD, NEW = (base64.urlsafe_b64encode(bytes(range(start, start + 32))).decode().rstrip("=") for start in (0, 100))
DAY = 86_400.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    log = CapturingLogger()
    monkeypatch.setattr("moorage.security.rotation._log", log)
    return log


def test_every_message_counts_for_its_purpose_whoever_seals_it() -> None:
    keys = SealingKeys.parse(OLD)
    hops, ids, more_hops = keys.sealer("hop"), keys.sealer("id"), keys.sealer("hop")
    sealed = [sealer.seal(b"") for sealer in (hops, more_hops, hops, ids)]
    assert [hops.open(each) is not None for each in sealed] == [True, True, True, False]
    assert keys.sealed() == {"hop": 3, "id": 1}


def test_a_new_first_key_counts_from_nothing_and_one_that_only_opens_changes_no_count(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    path.write_text(OLD)
    keys = SealingKeys.from_file(path)
    sealer = keys.sealer("hop")
    counts: list[tuple[int, int]] = []
    for ring in (f"{OLD}\n{NEW}", f"{NEW}\n{OLD}", "nonsense", NEW):
        sealer.seal(b"")
        replaced = path.with_suffix(".new")
        replaced.write_text(ring)
        replaced.replace(path)
        _ = keys.refresh() or keys.refresh()  # two looks have to agree
        counts.append((keys.sealed()["hop"], keys.sealed_since_rotation()["hop"]))
    assert counts == [(1, 1), (2, 0), (3, 1), (4, 2)]


def test_the_share_of_a_process_leaves_room_for_all_the_others_and_for_those_before() -> None:
    for processes in (1, 3, 640_000):
        share = Rotation(SealingKeys.ephemeral(), processes, Clock()).share
        assert share >= 1
        assert share * processes * 16 <= MOST_SEALED


def test_a_rotation_is_due_when_one_purpose_has_its_share_and_no_earlier() -> None:
    keys = SealingKeys.parse(OLD)
    rotation = Rotation(keys, 2, Clock(), whole=320)
    for purpose in ("hop", "id"):
        for _ in range(9):
            keys.sealer(purpose).seal(b"")
    assert rotation.due() is None
    keys.sealer("hop").seal(b"")
    assert "10 messages (hop)" in str(rotation.due())
    assert "rotate the sealing keys" in str(rotation.due())


def test_keys_that_nobody_can_rotate_are_renewed_by_a_restart() -> None:
    keys = SealingKeys.ephemeral()
    keys.sealer("hop").seal(b"")
    assert "restart" in str(Rotation(keys, 1, Clock(), whole=16).due())


def test_what_is_due_is_said_once_a_day_until_it_is_done(log: CapturingLogger, tmp_path: Path) -> None:
    path = tmp_path / "ring"
    path.write_text(OLD)
    keys, clock = SealingKeys.from_file(path), Clock()
    rotation = Rotation(keys, 1, clock, whole=16)
    said: list[int] = []
    keys.sealer("hop").seal(b"")
    for clock.now in (0, 1, DAY - 1, DAY, DAY + 1, 2 * DAY + 1):
        rotation.tell()
        said.append(len(log.calls))
    assert said == [1, 1, 1, 2, 2, 3]
    assert {call.args for call in log.calls} == {("sealing_keys.rotation_due",)}
    path.unlink()
    path.write_text(f"{NEW}\n{OLD}")
    assert keys.refresh() or keys.refresh()
    clock.now += DAY
    rotation.tell()
    assert len(log.calls) == 3
    assert rotation.due() is None


@pytest.mark.anyio
async def test_readiness_metrics_and_log_of_a_server_say_so_and_it_stays_ready(log: CapturingLogger) -> None:
    [port] = free_ports(1)
    app = create_app(Settings.model_validate({"admin": {"port": port}, "logs": {"level": "error"}}), MCPServer("harbour"))
    app.state.rotation = Rotation(app.state.keys, 1, Clock(), whole=16)
    async with lifespan(app), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as admin:
        assert "sealing-keys" not in (await admin.get("/readyz?verbose")).text
        app.state.keys.sealer("session-id").seal(b"")
        ready = await admin.get("/readyz?verbose")
        assert ready.status_code == 200
        assert "[!]sealing-keys" in ready.text
        assert 'moorage_seals_total{moorage_seal_purpose="session-id"} 1.0' in (await admin.get("/metrics")).text
        with anyio.fail_after(10):
            while not log.calls:
                await anyio.sleep(0.05)
