from moorage.security.api_keys import KeyRing
from tests.chart.rendering import render, upgraded


def test_a_key_is_made_that_the_service_accepts():
    rendered = render()
    token = rendered.secret("web-moorage-api-key")["token"]
    principal = KeyRing.parse(rendered.secret("web-moorage-api-keys")["api-keys"]).lookup(token)
    assert principal is not None
    assert principal.name == "default"


def test_the_key_is_long_and_another_one_each_time():
    tokens = {render(service={"port": port}).secret("web-moorage-api-key")["token"] for port in (81, 82)}
    assert len(tokens) == 2
    assert all(token.startswith("moor_") and len(token) == 45 for token in tokens)


def test_an_upgrade_keeps_the_key():
    before = render()
    after = upgraded(*before.all("Secret"), service={"port": 81})
    assert after.secret("web-moorage-api-key") == before.secret("web-moorage-api-key")
    assert after.secret("web-moorage-api-keys") == before.secret("web-moorage-api-keys")


def test_pods_see_the_hashes_alone():
    rendered = render()
    mounted = {volume["secret"]["secretName"] for volume in rendered.volumes.values() if "secret" in volume}
    assert "web-moorage-api-key" not in mounted
    assert rendered.volumes["api-keys"]["secret"]["secretName"] == "web-moorage-api-keys"
    assert rendered.secret("web-moorage-api-keys").keys() == {"api-keys"}
    assert rendered.env["MOORAGE_SECURITY__API_KEYS_FILE"] == "/etc/moorage-keys/api-keys"


def test_the_key_file_is_mounted_as_a_directory_so_that_it_follows_changes():
    assert render().mounts["api-keys"] == {"name": "api-keys", "mountPath": "/etc/moorage-keys", "readOnly": True}


def test_with_a_secret_of_ones_own_none_is_made():
    rendered = render(auth={"existingSecret": "team-keys"})
    assert not [secret for secret in rendered.all("Secret") if "api-key" in secret["metadata"]["name"]]
    assert rendered.volumes["api-keys"]["secret"] == {"secretName": "team-keys", "items": [{"key": "api-keys", "path": "api-keys"}]}


def test_without_auth_there_is_no_key_anywhere():
    rendered = render(auth={"enabled": False})
    assert not [secret for secret in rendered.all("Secret") if "api-key" in secret["metadata"]["name"]]
    assert "api-keys" not in rendered.volumes
    assert "MOORAGE_SECURITY__API_KEYS_FILE" not in rendered.env
