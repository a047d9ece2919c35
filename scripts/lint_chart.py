"""Checks what is deployed without running it: Dockerfile, chart, manifests.

Owns which linters look at what: hadolint at the Dockerfiles, yamllint at what people write, `helm lint --strict` and the schemas of
Kubernetes at every set of values that is kept (helm/moorage/ci, examples), kustomize and the same schemas at the overlays. Promises
to name the file of each finding and to end with 1 when there is one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kubernetes_validate
import yaml

from scripts import tools

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "moorage"
BIN = Path(sys.executable).parent
# The API server does not know these by itself; their operators bring the schemas.
FOREIGN = {"monitoring.coreos.com/v1"}
WRITTEN = ["helm/moorage/Chart.yaml", "helm/moorage/values.yaml", "helm/moorage/ci", "k8s", "scripts/chart_types.yaml"]
YAMLLINT = """
extends: default
rules:
  line-length: {max: 160, allow-non-breakable-words: true}
  document-start: disable
  indentation: {spaces: 2, indent-sequences: whatever}
  comments: {min-spaces-from-content: 1}
  truthy: {check-keys: false}
"""


def main() -> None:
    """Run every check; print what each found."""
    dockerfiles = [ROOT / "Dockerfile", *sorted(ROOT.glob("examples/*/Dockerfile"))]
    examples = [*sorted(ROOT.glob("examples/values/*.yaml")), *sorted(ROOT.glob("examples/*/values.yaml"))]
    values = [*sorted((CHART / "ci").glob("*-values.yaml")), *examples]
    overlays = [path.parent for path in sorted((ROOT / "k8s").glob("**/kustomization.yaml"))]
    checks: list[tuple[str, Callable[[], str]]] = [
        ("hadolint", lambda: run(BIN / "hadolint", *dockerfiles)),
        ("yamllint", lambda: run(BIN / "yamllint", "--strict", "-d", YAMLLINT, *WRITTEN, *examples)),
        *((f"chart with {path.relative_to(ROOT)}", lambda path=path: check_values(path)) for path in values),
        *((f"kustomize {path.relative_to(ROOT)}", lambda path=path: check_overlay(path)) for path in overlays),
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = list(pool.map(lambda check: check[1](), checks))
    for (name, _), findings in zip(checks, found, strict=True):
        print(f"{'FAIL' if findings else 'ok  '} {name}", findings, sep="\n" if findings else "")
    raise SystemExit(any(found))


def run(*command: object) -> str:
    """What a linter said, empty when it is content."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    return (done.stdout + done.stderr).strip() or f"exit {done.returncode}" if done.returncode else ""


def check_values(values: Path) -> str:
    """Lint and render the chart with a set of values."""
    if findings := run(tools.helm(), "lint", "--strict", CHART, "--values", values):
        return findings
    return check_rendered(tools.helm(), "template", "lint", CHART, "--values", values)


def check_overlay(overlay: Path) -> str:
    """Build a kustomization."""
    return check_rendered(tools.kubectl(), "kustomize", overlay)


def check_rendered(*command: object) -> str:
    """Hold what a command renders against the schemas of Kubernetes."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    return "\n".join(invalid(done.stdout)) if done.returncode == 0 else done.stderr.strip()


def invalid(manifests: str) -> Iterator[str]:
    """Each object that is not as Kubernetes wants it; unknown keys count."""
    objects = [manifest for manifest in yaml.safe_load_all(manifests) if manifest]
    if not objects:
        yield "nothing was rendered"
    for manifest in objects:
        if manifest["apiVersion"] in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{manifest['kind']} {manifest['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"


if __name__ == "__main__":
    main()
