"""What the cluster kit must never get wrong on somebody's machine: whom it signals, what it overwrites, what it says is missing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.kit import builds, install, lifecycle, processes, shell
from tests.cluster.kit.shell import KitError

SLEEPER = (sys.executable, "-c", "import signal; signal.pause()")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processes, "STATE", tmp_path)
    monkeypatch.setattr(processes, "LOGS", tmp_path / "logs")
    return tmp_path


def test_a_component_is_known_while_it_runs_and_gone_when_it_was_stopped(state: Path) -> None:
    processes.start("sleeper", *SLEEPER)
    pid = processes.alive("sleeper")
    assert pid
    processes.start("sleeper", *SLEEPER)
    assert processes.alive("sleeper") == pid, "a component that runs is not started twice"
    processes.stop("sleeper")
    assert processes.alive("sleeper") is None
    os.waitpid(pid, 0)


def test_a_process_id_that_was_used_again_is_neither_recognised_nor_signalled(state: Path) -> None:
    with subprocess.Popen(SLEEPER) as stranger:
        (state / "sleeper.pid").write_text(f"{stranger.pid} 1")
        assert processes.alive("sleeper") is None
        processes.stop("sleeper")
        assert stranger.poll() is None
        stranger.kill()


def test_a_file_that_would_not_change_is_not_touched(tmp_path: Path) -> None:
    path = shell.write(tmp_path / "kube-proxy.yaml", "a: 1\n")
    os.utime(path, (1, 1))
    shell.write(path, "a: 1\n")
    assert path.stat().st_mtime == 1
    shell.write(path, "a: 2\n")
    assert path.read_text() == "a: 2\n"


def test_a_go_that_is_too_old_is_named_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.19.8\n")
    go.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KitError, match=r"Go >= 1\.26 is needed, this is go1\.19\.8"):
        builds.check_go()


def test_no_go_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KitError, match="not on the PATH"):
        builds.check_go()


def test_anyone_but_root_is_told_about_other_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(install.platform, "system", lambda: "Linux")
    monkeypatch.setattr(install.os, "geteuid", lambda: 1000)
    with pytest.raises(KitError, match=r"root is needed.*MOORAGE_TEST_KUBECONFIG"):
        install.check_machine()


def test_a_port_that_is_taken_is_named_with_its_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    with lifecycle.socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(lifecycle, "PORTS", {"kubelet": port})
        with pytest.raises(KitError, match=f"port {port} is taken by another program and kubelet needs it"):
            lifecycle.check_ports()


def test_a_component_that_does_not_come_up_shows_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd.log").write_text("panic: no space\n")
    monkeypatch.setattr(shell, "LOGS", tmp_path)
    with pytest.raises(KitError, match=r"etcd did not come up.*\n.*panic: no space"):
        shell.wait("etcd", lambda: False, seconds=0)
