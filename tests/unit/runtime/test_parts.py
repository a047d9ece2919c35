"""What is relied on of a library's inside is looked for at the start; what is missing ends the start, or costs telemetry alone."""

from __future__ import annotations

import socket

import pytest

from moorage.edge.uvicorn_parts import UVICORN_PARTS
from moorage.errors import MoorageError
from moorage.lifecycle.parts import Parts, missing
from moorage.runtime import master, reload, worker
from moorage.settings import Settings, TelemetrySettings
from moorage.telemetry import bootstrap

LISTS: dict[str, Parts] = {
    "uvicorn": UVICORN_PARTS,
    "uvicorn's reloader": reload.RELOAD_PARTS,
    "uvicorn-worker": worker.WORKER_PARTS,
    "gunicorn": master.GUNICORN_PARTS,
    "OpenTelemetry": bootstrap.OPENTELEMETRY_PARTS,
}


class OfAnotherRelease:
    """A class that has lost everything."""


@pytest.mark.parametrize("library", LISTS)
def test_this_release_has_every_part(library: str):
    assert LISTS[library]
    assert missing(LISTS[library]) == []


@pytest.mark.parametrize("library", LISTS)
def test_each_part_that_is_gone_is_named(library: str):
    for kind, parts in LISTS[library].items():
        gone = [part for part in parts if not hasattr(OfAnotherRelease, part)]
        assert missing({OfAnotherRelease: parts}) == [f"OfAnotherRelease.{part}" for part in gone]
        assert gone, kind


@pytest.mark.parametrize(("module", "name"), [(master, "GUNICORN_PARTS"), (worker, "UVICORN_PARTS"), (worker, "WORKER_PARTS")])
def test_serving_is_refused_before_there_is_a_worker(monkeypatch: pytest.MonkeyPatch, module: object, name: str):
    monkeypatch.setattr(module, name, {OfAnotherRelease: ("halt",)})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        application = master.Application(Settings(), listener)
        with pytest.raises(MoorageError, match=r"corn(-worker)? \d[\d.]* does not have what .*: OfAnotherRelease\.halt") as told:
            application.run()
    assert "install the release" in told.value.hint


def test_the_development_server_is_refused_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reload, "RELOAD_PARTS", {OfAnotherRelease: ("iter_py_files",)})
    with pytest.raises(MoorageError, match=r"OfAnotherRelease\.iter_py_files"):
        reload.serve_and_reload(Settings())


def test_without_a_part_of_opentelemetry_the_service_starts_and_measures_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "OPENTELEMETRY_PARTS", {OfAnotherRelease: ("_receive_metrics",)})
    telemetry = bootstrap.start(TelemetrySettings(), service_name="parts", version="1", set_global=False)
    assert telemetry.render_metrics()[1] == b"# EOF\n"
