import base64

from moorage.security.api_keys import KeyRing
from tests.chart.rendering import Rendered, render


def decoded(rendered: Rendered, name: str, key: str) -> str:
    return base64.b64decode(rendered.one("Secret", name)["data"][key]).decode()


def test_a_key_is_made_that_the_service_accepts():
    rendered = render()
    token = decoded(rendered, "web-moorage-api-key", "token")
    principal = KeyRing.parse(decoded(rendered, "web-moorage-api-keys", "api-keys")).lookup(token)
    assert principal is not None
    assert principal.name == "default"


def test_the_key_is_long_and_another_one_each_time():
    tokens = {decoded(render(service={"port": port}), "web-moorage-api-key", "token") for port in (81, 82)}
    assert len(tokens) == 2
    assert all(token.startswith("moor_") and len(token) == 45 for token in tokens)


def test_pods_see_the_hashes_alone():
    rendered = render()
    volumes = {volume["secret"]["secretName"] for volume in rendered.pod["spec"]["volumes"] if "secret" in volume}
    assert volumes == {"web-moorage-api-keys"}
    assert rendered.one("Secret", "web-moorage-api-keys")["data"].keys() == {"api-keys"}
    assert rendered.env["MOORAGE_SECURITY__API_KEYS_FILE"] == "/etc/moorage-keys/api-keys"


def test_the_key_file_is_mounted_as_a_directory_so_that_it_follows_changes():
    (mount,) = (mount for mount in render().container["volumeMounts"] if mount["name"] == "api-keys")
    assert mount == {"name": "api-keys", "mountPath": "/etc/moorage-keys", "readOnly": True}


def test_with_a_secret_of_ones_own_none_is_made():
    rendered = render(auth={"existingSecret": "team-keys"})
    (volume,) = (volume for volume in rendered.pod["spec"]["volumes"] if volume["name"] == "api-keys")
    assert rendered.all("Secret") == []
    assert volume["secret"] == {"secretName": "team-keys", "items": [{"key": "api-keys", "path": "api-keys"}]}


def test_without_auth_there_is_no_key_anywhere():
    rendered = render(auth={"enabled": False})
    assert rendered.all("Secret") == []
    assert not [volume for volume in rendered.pod["spec"]["volumes"] if volume["name"] == "api-keys"]
    assert "MOORAGE_SECURITY__API_KEYS_FILE" not in rendered.env
