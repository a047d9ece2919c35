from pathlib import Path

import pytest

from scripts import lint_chart
from tests.chart.rendering import ROOT

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: broken
spec:
  containers:
    - name: a
      {line}
"""


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("imagePullPolicies: Always", "imagePullPolicies"),
        ("ports: 80", "80 is not of type"),
        ("env: [{value: a}]", "'name' is a required property"),
    ],
)
def test_a_manifest_that_kubernetes_would_refuse_is_found(line: str, finding: str):
    (found,) = lint_chart.invalid(POD.format(line=line))
    assert found.startswith("Pod broken: spec.containers.0")
    assert finding in found


def test_a_good_manifest_is_not():
    assert list(lint_chart.invalid(POD.format(line="image: a"))) == []


def test_rendering_nothing_is_a_finding():
    assert list(lint_chart.invalid("---\n")) == ["nothing was rendered"]


def test_values_that_do_not_render_are_a_finding(tmp_path: Path):
    values = tmp_path / "values.yaml"
    values.write_text("replicaCount: 2\n")
    assert "nothing to serve" in lint_chart.check_values(values)


def test_an_overlay_that_does_not_build_is_a_finding(tmp_path: Path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    assert "missing.yaml" in lint_chart.check_overlay(tmp_path)


def test_a_linter_that_fails_in_silence_is_a_finding():
    assert lint_chart.run("false") == "exit 1"


def test_the_values_that_are_kept_are_linted():
    kept = [ROOT / "helm/moorage/ci/full-values.yaml", ROOT / "examples/values/quickstart.yaml"]
    assert [lint_chart.check_values(path) for path in kept] == ["", ""]
