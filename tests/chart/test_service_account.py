import pytest

from tests.chart.rendering import render


def test_the_pods_have_an_account_and_never_its_token():
    rendered = render(serviceAccount={"annotations": {"a": "b"}})
    account = rendered.one("ServiceAccount")
    assert account["metadata"]["annotations"] == {"a": "b"}
    assert account["automountServiceAccountToken"] is False
    assert rendered.pod["spec"]["automountServiceAccountToken"] is False
    assert rendered.pod["spec"]["serviceAccountName"] == account["metadata"]["name"] == "web-moorage"


@pytest.mark.parametrize(
    ("values", "created", "used"),
    [
        ({"create": True, "name": "own"}, ["own"], "own"),
        ({"create": False, "name": "own"}, [], "own"),
        ({"create": False}, [], "default"),
    ],
)
def test_an_account_of_ones_own_can_be_used(values: dict[str, object], created: list[str], used: str):
    rendered = render(serviceAccount=values)
    assert [account["metadata"]["name"] for account in rendered.all("ServiceAccount")] == created
    assert rendered.pod["spec"]["serviceAccountName"] == used
