import base64
import re
from typing import Any

from tests.chart.rendering import Rendered, render, upgraded

SECRET = "web-moorage-sealing-keys"


def ring(rendered: Rendered) -> str:
    return rendered.secret(SECRET)["sealing-keys"]


def test_a_key_is_made_of_32_random_bytes_in_the_form_of_the_command_line():
    made = [ring(render(service={"port": port})) for port in range(81, 89)]
    assert len(set(made)) == len(made)
    for text in made:
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", text)
        assert len(base64.urlsafe_b64decode(text.strip() + "=")) == 32


def test_an_upgrade_keeps_it():
    before = render(replicaCount=3)
    assert ring(upgraded(*before.all("Secret"), replicaCount=5)) == ring(before)


def test_an_upgrade_keeps_what_a_rotation_has_made_of_it():
    rotated = render().one("Secret", SECRET)
    rotated["data"]["sealing-keys"] = base64.b64encode(b"old\nnew\n").decode()
    assert ring(upgraded(rotated)) == "old\nnew\n"


def test_pods_read_it_from_a_file_that_follows_changes():
    rendered = render()
    items = [{"key": "sealing-keys", "path": "sealing-keys"}]
    assert rendered.env["MOORAGE_SECURITY__SEALING_KEYS_FILE"] == "/etc/moorage-sealing/sealing-keys"
    assert rendered.mounts["sealing-keys"] == {"name": "sealing-keys", "mountPath": "/etc/moorage-sealing", "readOnly": True}
    assert rendered.volumes["sealing-keys"]["secret"] == {"secretName": SECRET, "items": items}


def test_with_a_secret_of_ones_own_none_is_made():
    rendered = render(sealing={"existingSecret": "team-sealing"})
    assert SECRET not in [secret["metadata"]["name"] for secret in rendered.all("Secret")]
    assert rendered.volumes["sealing-keys"]["secret"]["secretName"] == "team-sealing"


def test_a_rotation_rolls_nothing():
    def annotations(text: bytes, **values: Any) -> dict[str, str]:
        secret = {"apiVersion": "v1", "kind": "Secret", "data": {"sealing-keys": base64.b64encode(text).decode()}}
        found = [{**secret, "metadata": {"name": name}} for name in (SECRET, "team-sealing")]
        return upgraded(*found, **values).pod["metadata"]["annotations"]

    for values in ({}, {"sealing": {"existingSecret": "team-sealing"}}):
        assert annotations(b"old\n", **values) == annotations(b"new\nold\n", **values)
