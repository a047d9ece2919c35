from typing import Any

from tests.chart.rendering import SERVING, Rendered, render

UNUSUAL = 'text = """\n  {{ not a template }}\n"""\t# tab, "quotes", ümlaut\n'


def mounted(rendered: Rendered) -> Any:
    return {volume["name"]: volume.get("configMap") for volume in rendered.pod["spec"]["volumes"]}.get("tools")


def test_inline_files_are_mounted_as_they_are_written():
    rendered = render(tools={"files": {"helper.py": UNUSUAL}}, target="/srv/tools/server.py:mcp")
    assert rendered.one("ConfigMap", "web-moorage-tools")["data"] == {**SERVING["tools"]["files"], "helper.py": UNUSUAL}
    assert mounted(rendered) == {"name": "web-moorage-tools"}
    (mount,) = (mount for mount in rendered.container["volumeMounts"] if mount["name"] == "tools")
    assert mount == {"name": "tools", "mountPath": "/srv/tools", "readOnly": True}


def test_the_one_file_is_the_target():
    assert render().env["MOORAGE_TARGET"] == "/srv/tools/server.py"


def test_a_target_that_is_named_wins():
    assert render(target="/srv/tools/server.py:other").env["MOORAGE_TARGET"] == "/srv/tools/server.py:other"


def test_a_configmap_of_ones_own_is_mounted_instead():
    rendered = render(tools={"configMap": "team-tools", "files": {"server.py": None}}, target="/srv/tools/a.py:mcp")
    assert mounted(rendered) == {"name": "team-tools"}
    assert [thing["metadata"]["name"] for thing in rendered.all("ConfigMap")] == ["web-moorage", "web-moorage-test"]


def test_an_image_of_ones_own_says_itself_what_it_serves():
    rendered = render(image={"repository": "registry.example.com/team/tools"}, tools={"files": {"server.py": None}})
    assert "MOORAGE_TARGET" not in rendered.env
    assert mounted(rendered) is None


def test_a_target_inside_the_plain_image_is_enough():
    assert render(tools={"files": {"server.py": None}}, target="tools:mcp").env["MOORAGE_TARGET"] == "tools:mcp"
