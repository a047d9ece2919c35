"""The tree holds what its reader has to know, and the rules that no single field can hold."""

import pytest
from pydantic import ValidationError

from moorage.errors import SettingsError
from moorage.settings import Settings, is_loopback
from moorage.settings_catalogue import Known, known_settings, value_of
from moorage.settings_sources import load_settings

ALL = list(known_settings().values())


def refusal(**overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings({path.replace("__", "."): text for path, text in overrides.items()}, {})
    return caught.value.message


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.path)
def test_each_setting_has_description_reason_and_range(known: Known) -> None:
    assert known.field.description
    assert known.field.description.endswith(".")
    assert known.reason.endswith(".")
    assert (known.kind in (int, float)) == (known.unit is not None) == (known.limit("ge") is not None) == (known.limit("le") is not None)


@pytest.mark.parametrize("known", [known for known in ALL if known.secret], ids=lambda known: known.path)
def test_each_secret_can_come_from_a_file_and_is_never_shown(known: Known) -> None:
    assert f"{known.path}_file" in known_settings()
    settings = load_settings({known.path: "redis://canary"}, {}).settings  # what any secret may look like
    assert "canary" not in known.show(value_of(settings, known.path)) + repr(settings) + str(settings)


def test_nothing_can_be_changed_after_the_start() -> None:
    with pytest.raises(ValidationError):
        Settings().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "moorage.example", "127.example"])
def test_serving_others_without_a_key_is_refused_and_both_ways_out_are_named(host: str) -> None:
    message = refusal(server__host=host)
    assert message.startswith(f"server.host='{host}' can be reached by others and there are no API keys")
    assert "security.api_keys_file" in message
    assert "security.allow_anonymous" in message


@pytest.mark.parametrize(("name", "text"), [("allow_anonymous", "true"), ("api_keys_file", "/run/keys"), ("api_keys", "ci:00")])
def test_serving_others_on_purpose_is_allowed(name: str, text: str) -> None:
    settings = load_settings({"server.host": "0.0.0.0", f"security.{name}": text}, {}).settings
    assert settings.anonymous_allowed == (name == "allow_anonymous")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_key(host: str) -> None:
    settings = load_settings({"server.host": host}, {}).settings
    assert settings.anonymous_allowed
    assert is_loopback(host)


def test_keys_are_demanded_on_loopback_too_once_there_are_some() -> None:
    assert not load_settings({"security.api_keys_file": "/run/keys"}, {}).settings.anonymous_allowed


def test_keys_in_two_places_are_refused() -> None:
    message = refusal(security__api_keys="ci:00", security__api_keys_file="/run/keys")
    assert message == "security.api_keys and security.api_keys_file are both set: keep one of them"


@pytest.mark.parametrize("url", ["localhost:6379", "http://cache:6379", "redis:cache", "redis+cluster+sentinel://a"])
def test_what_is_not_the_url_of_a_store_is_refused_without_showing_it(url: str) -> None:
    message = refusal(store__url=url)
    assert message.startswith("store.url is not the URL of a store: write redis://host:port/db")
    assert url not in message


def test_a_settle_time_that_eats_the_drain_budget_is_refused() -> None:
    assert refusal(drain__settle_seconds="5", drain__budget_seconds="5") == (
        "drain.settle_seconds=5 leaves nothing of drain.budget_seconds=5 for calls in flight:"
        " make the budget larger or the settling shorter"
    )


def test_two_listeners_on_one_port_are_refused() -> None:
    assert refusal(admin__port="8000") == "server.port and admin.port are both 8000: the admin listener needs a port of its own"
    assert load_settings({"server.port": "0", "admin.port": "0"}, {}).settings.admin.port == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_a_relay_door_on_every_address_has_to_say_one_to_the_others(host: str) -> None:
    store = {"store.url": "redis://cache"}
    assert refusal(store__url="redis://cache", relay__host=host).endswith("set relay.advertise (MOORAGE_RELAY__ADVERTISE)")
    assert load_settings({**store, "relay.host": host, "relay.advertise": "10.0.0.7"}, {}).settings.relay.host == host
    assert load_settings({**store, "relay.host": "10.0.0.7"}, {}).settings.relay.advertise is None
    assert load_settings({"relay.host": host}, {}).settings.relay.host == host


@pytest.mark.parametrize("host", ["10.0.0.7:9191", "http://10.0.0.7", "10.0.0.7/", "user@a", "a b", "fe80::1%eth0", "größe"])
def test_a_relay_door_is_told_as_a_host_alone(host: str) -> None:
    assert "is not a host: write a name or an IP address alone" in refusal(relay__advertise=host)


@pytest.mark.parametrize("host", ["10.0.0.7", "tools-0.tools.svc.cluster.local", "fd00::7", "[fd00::7]", "a_b"])
def test_a_host_that_a_relay_door_can_be_told_as(host: str) -> None:
    assert load_settings({"relay.advertise": host}, {}).settings.relay.advertise == host


@pytest.mark.parametrize(
    "entry", ["a.example", "a.example:8443", "*.a.example", "*.a.example:80", "*", "[2001:db8::1]:80", "10.0.0.1", "my_svc"]
)
def test_hosts_are_names_ports_suffixes_or_any(entry: str) -> None:
    assert load_settings({"security.allowed_hosts": entry}, {}).settings.security.allowed_hosts == (entry,)


@pytest.mark.parametrize(
    "entry", ["https://a.example", "a.example/", "*a.example", "a b", "a.example:", "2001:db8::1", "a@b", "*.*.example"]
)
def test_what_is_no_host_is_refused(entry: str) -> None:
    assert f"{entry!r} is not a host" in refusal(security__allowed_hosts=entry)


@pytest.mark.parametrize("entry", ["https://a.example", "http://localhost:5173", "http://[::1]:80", "*", "vscode-webview://x"])
def test_origins_are_scheme_host_and_port(entry: str) -> None:
    assert load_settings({"security.allowed_origins": entry}, {}).settings.security.allowed_origins == (entry,)


@pytest.mark.parametrize("entry", ["a.example", "https://a.example/", "https://", "null", "https://*.example", "https://a@b"])
def test_what_is_no_origin_is_refused(entry: str) -> None:
    assert f"{entry!r} is not an origin" in refusal(security__allowed_origins=entry)
