"""Whether the images of the steps are in their registry, asked as the Docker Registry HTTP API has it."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flywheel import images
from flywheel.config import STAGES, KServe
from flywheel.doctor.finding import Finding
from flywheel.workspace import Workspace

_HUB = "registry-1.docker.io"
_KINDS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
_CURE = "push it there; FLYWHEEL_IMAGES names another registry and folder."


def check(workspace: Workspace) -> Iterator[Finding]:
    """Yield one finding an image; one skipped when nothing of this flywheel runs on a cluster."""
    project = workspace.project
    on_cluster = isinstance(project.deploy, KServe) or project.train.resources.nodes or project.kubeflow.endpoint
    if not (on_cluster or "FLYWHEEL_IMAGES" in os.environ):
        yield Finding("image", "skip", "the steps run on this machine, without images")
        return
    asked = [project.asked(stage) for stage in STAGES]
    for name in dict.fromkeys(each.image or (images.GPU if each.gpu else images.CPU) for each in asked):
        yield look(name)


def look(image: str) -> Finding:
    """Ask the registry for the manifest of an image, with the credentials of `docker login` if there are any."""
    import urllib3

    registry, name, tag = parse(image)
    scheme = "http" if re.match(r"(localhost|127\.0\.0\.1)(:|$)", registry) else "https"  # as Docker does
    url = f"{scheme}://{registry}/v2/{name}/manifests/{tag}"
    http = urllib3.PoolManager(retries=False, timeout=10.0)
    try:
        answer = http.request("HEAD", url, headers={"Accept": _KINDS})
        if answer.status == 401 and (token := _token(http, registry, answer.headers.get("WWW-Authenticate", ""))):
            answer = http.request("HEAD", url, headers={"Accept": _KINDS, "Authorization": token})
    except urllib3.exceptions.HTTPError as error:
        found = f"{image}: {registry} does not answer: {type(error).__name__}: {error}"
        return Finding("image", "fail", found, f"mend the registry's name or the network. {_CURE}")
    if answer.status == 200:
        digest = answer.headers.get("Docker-Content-Digest", "")
        return Finding("image", "ok", f"{image} is there{f', {digest[:19]}' if digest else ''}")
    if answer.status == 404:
        return Finding("image", "fail", f"{image} is not in {registry}", _CURE)
    if answer.status in (401, 403):
        found = f"whether {image} is there may not be asked: {registry} answers {answer.status}"
        return Finding("image", "warn", found, f"`docker login {registry}`; the cluster has pull secrets of its own.")
    return Finding("image", "warn", f"{image}: {registry} answers {answer.status}", "try again later.")


def parse(image: str) -> tuple[str, str, str]:
    """Return registry, repository and tag or digest of an image's name, as Docker reads it."""
    first, slash, rest = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, rest) if named else (_HUB, image if slash else f"library/{image}")
    name, at, digest = path.partition("@")
    name, _, tag = name.partition(":")
    return registry, name, digest if at else tag or "latest"


def _token(http: Any, registry: str, challenge: str) -> str:
    """Return what to say in Authorization to a registry that asks for it; empty when we have nothing."""
    login = _login(registry)
    if not challenge.lower().startswith("bearer"):
        return f"Basic {login}" if login else ""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
    headers = {"Authorization": f"Basic {login}"} if login else {}
    answer = http.request("GET", f"{asked.get('realm', '')}?{query}", headers=headers)
    if answer.status != 200:
        return ""
    told = json.loads(answer.data)
    return f"Bearer {told.get('token') or told.get('access_token')}"


def _login(registry: str) -> str:
    """Return user and password of `docker login`, encoded; empty where there are none, or a helper keeps them."""
    file = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser() / "config.json"
    if not file.is_file():
        return ""
    known = json.loads(file.read_text()).get("auths", {})
    key = "https://index.docker.io/v1/" if registry == _HUB else registry
    login = str(known.get(key, {}).get("auth", ""))
    return login if login and b":" in base64.b64decode(login) else ""
