"""Programs that are run and waited for, and the one error of the kit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.kit.layout import BIN, KUBECONFIG, LOGS

QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class KitError(Exception):
    """What is missing or did not work, in words for the person at the terminal."""


def say(text: str) -> None:
    """Tell the person at the terminal; stdout belongs to what a command returns."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """The environment of every program here: the kit's own binaries first, and Debian's system programs."""
    return {**os.environ, "PATH": f"{BIN}:/usr/sbin:/sbin:{os.environ['PATH']}", "KUBECONFIG": str(KUBECONFIG)}


def sh(*arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a program; raises CalledProcessError when it fails."""
    options.setdefault("env", environment())
    return subprocess.run([str(a) for a in arguments], check=True, **options)


def attempt(*arguments: object) -> bool:
    """Run a program whose failure means "no" or "not there", and keep what it says to ourselves."""
    return subprocess.run([str(a) for a in arguments], check=False, env=environment(), **QUIET).returncode == 0


def output(*arguments: object, **options: Any) -> str:
    """What a program printed on stdout, stripped."""
    return sh(*arguments, stdout=subprocess.PIPE, text=True, **options).stdout.strip()


def kubectl(*arguments: object, **options: Any) -> str:
    """What kubectl printed, asked as the cluster's administrator."""
    return output(BIN / "kubectl", "--kubeconfig", KUBECONFIG, *arguments, **options)


def write(path: Path, text: str) -> Path:
    """Write only what changed: kube-proxy exits and CoreDNS reloads when its file is touched."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def wait(name: str, check: Callable[[], object], seconds: float = 120) -> None:
    """Ask until the answer is yes.

    Raises:
        KitError: it was not, for so many seconds; the message ends with the last lines of the component's log.
    """
    deadline = time.monotonic() + seconds
    reason = "not yet"
    while time.monotonic() < deadline:
        try:
            if check():
                return
        except (subprocess.CalledProcessError, OSError) as error:
            reason = str(error)[:300]
        time.sleep(0.3)  # another process's start can only be polled
    log = LOGS / f"{name}.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:]) if log.exists() else "(no log)"
    raise KitError(f"{name} did not come up in {seconds:.0f} s ({reason}); the end of its log:\n{tail}")
