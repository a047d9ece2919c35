"""Sessions of the handshake era belong to the release: any replica serves them, and they outlive every pod.

The release with a store is examples/values/valkey.yaml as it stands, with the tools of these tests: three replicas, the trial Valkey, and
no cookie. Its tests follow each other on one release; those that change its pods come last.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from moorage.security.keyring import generate
from tests.cluster import caller as callers
from tests.cluster.authority import Authority
from tests.cluster.conftest import HERE, Open, explain
from tests.cluster.conversation import Conversation
from tests.cluster.load import Load, until
from tests.cluster.release import Release, image_values
from tests.cluster.target import ROOT, Target

pytestmark = pytest.mark.anyio
VALUES = ROOT / "examples" / "values" / "valkey.yaml"
HOST = "mcp.example.com"
IN_A_POD = (Path(__file__).parent / "tools" / "in_a_pod.py").read_text()
MODERN_CALLERS, CONVERSATIONS = 3, 6
OUTCOME_UNKNOWN = -32011


@pytest.fixture(scope="module")
def fleet_values(target: Target) -> list[str]:
    return [
        *("--values", str(VALUES)),
        *image_values(target.image),
        *image_values(target.valkey, "store.valkey.image"),
        *("--set-file", f"tools.files.harbour\\.py={HERE / 'tools' / 'harbour.py'}"),
        *("--set", "target=/srv/tools/harbour.py:mcp"),
    ]


@pytest.fixture(scope="module")
def fleet(target: Target, authority: Authority, fleet_values: list[str]) -> Iterator[Release]:
    """Three replicas that share a store."""
    fleet = Release(target, "fleet")
    fleet.delete_namespace()
    fleet.create_namespace()
    signed = authority.sign(HOST)
    fleet.create_tls_secret("mcp-example-com-tls", signed.certificate, signed.key)
    try:
        fleet.install(*fleet_values)
        anyio.run(callers.published, target, authority, HOST)
    except (AssertionError, TimeoutError):
        print(explain(fleet))
        raise
    yield fleet
    fleet.delete_namespace()


@pytest.fixture
def open_fleet(target: Target, authority: Authority, fleet: Release) -> Open:
    token = fleet.token()
    return lambda: callers.caller(target.ingress, authority.trust(), HOST, token)


@pytest.fixture
async def converse(open_fleet: Open) -> AsyncIterator[Callable[[], Any]]:
    """Opens sessions, each with connections of its own."""
    async with AsyncExitStack() as stack:

        async def one() -> Conversation:
            conversation = Conversation((await stack.enter_async_context(open_fleet())).http)
            await conversation.open()
            return conversation

        yield one


def in_pod(release: Release, pod: str, session: str, message: dict[str, Any]) -> dict[str, Any]:
    """POST a message of a session to the server of one pod, from inside: no proxy chooses another one."""
    arguments = json.dumps({"token": release.token(), "session": session, "message": message})
    said = release.target.ask("kubectl", "--namespace", release.name, "exec", "-i", pod, "--", "python", "-c", IN_A_POD, stdin=arguments)
    return json.loads(said)


def tool_call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 900, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


# ---------------------------------------------------------------- without a store


async def test_without_a_store_every_replica_answers_the_calls_of_a_session(release: Release, open_caller: Open) -> None:
    async with open_caller() as client:
        session = await client.initialize()
    answered = {pod: in_pod(release, pod, session, tool_call("pod")) for pod in release.pod_names()}
    assert len(answered) == 3
    assert {pod: answer["status"] for pod, answer in answered.items()} == dict.fromkeys(answered, 200)
    assert {answer["message"]["result"]["structuredContent"]["result"] for answer in answered.values()} == answered.keys()


async def test_without_a_store_a_session_outlives_the_pod_that_opened_it(release: Release, open_caller: Open) -> None:
    """Cookie and all: the pod is gone."""
    async with open_caller() as client:
        session = await client.initialize()
        pod = callers.structured(await client.legacy("tools/call", {"name": "pod", "arguments": {}}, session=session))
        await anyio.to_thread.run_sync(release.kubectl, "delete", "pod", pod, "--timeout=90s")
        another = callers.structured(await client.legacy("tools/call", {"name": "pod", "arguments": {}}, session=session))
    assert another != pod
    await until(lambda: release.objects("deployments")[0]["status"].get("availableReplicas") == 3)


async def test_without_a_store_a_position_in_a_stream_is_refused_in_words(open_caller: Open) -> None:
    async with open_caller() as client:
        session = await client.initialize()
        headers = {"mcp-session-id": session, "mcp-protocol-version": callers.LEGACY, "accept": "text/event-stream", "last-event-id": "1"}
        refused = await client.http.get("/mcp", headers=headers)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"]


# ---------------------------------------------------------------- what stands there


def test_the_trial_valkey_never_evicts_and_serves_one_user_who_may_not_configure_it(fleet: Release) -> None:
    (pod,) = [p["metadata"]["name"] for p in fleet.objects("pods", "app.kubernetes.io/component=valkey")]

    def asked(*words: str) -> str:
        said = fleet.target.run("kubectl", "-n", fleet.name, "exec", pod, "--", *words)
        return said.stdout + said.stderr

    ours = ("valkey-cli", "--user", "moorage", "-e")
    assert "maxmemory_policy:noeviction" in asked(*ours, "info", "memory")
    assert "NOPERM" in asked(*ours, "config", "get", "maxmemory-policy")
    assert "NOAUTH" in asked("env", "REDISCLI_AUTH=wrong", *ours, "dbsize")
    assert "NOAUTH" in asked("valkey-cli", "-e", "dbsize"), "the default user is off, whatever its password"


def test_only_the_pods_of_the_release_are_let_in_to_the_relay_and_to_the_store(fleet: Release) -> None:
    servers = {"app.kubernetes.io/name": "moorage", "app.kubernetes.io/instance": "fleet", "app.kubernetes.io/component": "server"}
    policies = {p["metadata"]["name"]: p["spec"] for p in fleet.objects("networkpolicies")}
    relay = {"from": [{"podSelector": {"matchLabels": servers}}], "ports": [{"port": 9191, "protocol": "TCP"}]}
    store = {"from": [{"podSelector": {"matchLabels": servers}}], "ports": [{"port": "valkey", "protocol": "TCP"}]}
    assert relay in policies["fleet-moorage"]["ingress"]
    assert policies["fleet-moorage-valkey"]["ingress"] == [store]
    selector = ",".join(f"{key}={value}" for key, value in servers.items())
    assert {pod["metadata"]["name"] for pod in fleet.objects("pods", selector)} == fleet.pod_names()
    assert len(fleet.pod_names()) == 3


# ---------------------------------------------------------------- with a store


async def test_every_replica_takes_the_calls_of_a_session_to_its_one_owner(fleet: Release, converse: Callable[[], Any]) -> None:
    conversation = await converse()
    owner = await conversation.call("pod")
    answers = [in_pod(fleet, pod, conversation.session, tool_call("pod")) for pod in sorted(fleet.pod_names())]
    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert {answer["message"]["result"]["structuredContent"]["result"] for answer in answers} == {owner}


async def test_a_client_that_keeps_no_cookies_notices_nothing_of_the_replicas(converse: Callable[[], Any]) -> None:
    conversation = await converse()
    assert [await conversation.call("add", a=number, b=1) for number in range(30)] == list(range(1, 31))


async def test_what_is_said_through_any_replica_is_heard_on_the_sessions_stream(fleet: Release, converse: Callable[[], Any]) -> None:
    conversation, ready = await converse(), anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conversation.listen, ready)
            await ready.wait()
            for number, pod in enumerate(sorted(fleet.pod_names()), 1):
                answer = await anyio.to_thread.run_sync(in_pod, fleet, pod, conversation.session, tool_call("announce", number=number))
                assert answer["status"] == 200, answer
            await heard(conversation, 3)
            tasks.cancel_scope.cancel()
    assert conversation.heard == [1, 2, 3]


async def test_an_answer_to_a_question_may_come_to_any_replica(fleet: Release, converse: Callable[[], Any]) -> None:
    conversation = await converse()
    for number, pod in enumerate(sorted(fleet.pod_names()), 1):
        with anyio.fail_after(40):
            async for message in conversation.messages("ask"):
                if message.get("method") == "elicitation/create":
                    reply = {"action": "accept", "content": {"number": number}}
                    answer = {"jsonrpc": "2.0", "id": message["id"], "result": reply}
                    taken = await anyio.to_thread.run_sync(in_pod, fleet, pod, conversation.session, answer)
                    assert taken["status"] == 202, taken
                elif "result" in message:
                    assert message["result"]["structuredContent"] == {"result": number}


async def test_a_session_that_was_ended_is_gone_at_every_replica(fleet: Release, converse: Callable[[], Any]) -> None:
    conversation = await converse()
    assert (await conversation.end()).status_code in (200, 204)
    answers = [in_pod(fleet, pod, conversation.session, tool_call("pod")) for pod in fleet.pod_names()]
    assert [answer["status"] for answer in answers] == [404, 404, 404]


# ---------------------------------------------------------------- pods come and go


@dataclass
class Talk:
    """One session that is used without a pause: it announces, listens, and has calls in flight.

    Attributes:
        said: How many integers were announced, each once the one before was acknowledged.
        calls: For each call that reports its progress: its tool, what it reported, and how it ended.
    """

    conversation: Conversation
    said: int = 0
    calls: list[tuple[str, list[int], dict[str, Any]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    over: bool = False

    async def announce(self) -> None:
        while not self.over:
            try:
                assert await self.conversation.call("announce", number=self.said + 1) == self.said + 1
            except (AssertionError, httpx2.HTTPError) as error:
                self.failures.append(f"announce {self.said + 1}: {type(error).__name__} {error}")
                return
            self.said += 1
            await anyio.sleep(0.1)

    async def travel(self, tool: str, legs: int) -> None:
        while not self.over:
            reported: list[int] = []
            try:
                async for message in self.conversation.messages(tool, legs=legs):
                    if message.get("method") == "notifications/progress":
                        reported.append(int(message["params"]["progress"]))
                    else:
                        self.calls.append((tool, reported, message))
            except (AssertionError, httpx2.HTTPError) as error:
                self.failures.append(f"{tool} after {reported[-1:]}: {type(error).__name__} {error}")
                return


async def heard(conversation: Conversation, last: int) -> None:
    """Wait until the session's stream has brought this integer."""
    while last not in conversation.heard[-1:]:
        await anyio.sleep(0.02)


def kept(release: Release) -> dict[str, Any]:
    """What has to be the same after an upgrade: every Secret of the chart."""
    return {secret["metadata"]["name"]: secret["data"] for secret in release.objects("secrets") if secret["type"] == "Opaque"}


async def test_a_rolling_update_loses_no_session_and_every_stream_resumes(
    fleet: Release, fleet_values: list[str], open_fleet: Open, converse: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before, secrets, load = fleet.pod_names(), kept(fleet), Load()
    talks = [Talk(await converse()) for _ in range(CONVERSATIONS)]
    upgrade = fleet.helm_arguments("upgrade", *fleet_values, "--set", "config.http.ping_seconds=7")
    with anyio.fail_after(290):
        async with anyio.create_task_group() as listening:
            for talk in talks:
                ready = anyio.Event()
                listening.start_soon(talk.conversation.listen, ready)
                await ready.wait()
            async with anyio.create_task_group() as tasks:
                for _ in range(MODERN_CALLERS):
                    tasks.start_soon(load.keep_calling, open_fleet)
                for talk in talks:
                    tasks.start_soon(talk.announce)
                    tasks.start_soon(talk.travel, "voyage", 120)  # longer than a drain lasts: it moves
                    tasks.start_soon(talk.travel, "haul", 20)
                await load.reaches(50)
                await anyio.to_thread.run_sync(lambda: fleet.target.ask("helm", *upgrade))
                for pod in before:
                    await anyio.to_thread.run_sync(fleet.kubectl, "wait", "--for=delete", f"pod/{pod}", "--timeout=90s")
                await load.reaches(50)
                load.over = True
                for talk in talks:
                    talk.over = True
            with anyio.move_on_after(20):
                for talk in talks:
                    await heard(talk.conversation, talk.said)
            listening.cancel_scope.cancel()
    with capsys.disabled():
        print(f"\n  {load.done} modern calls, {len(load.failures)} failed; {report(talks)}")
    assert not fleet.pod_names() & before
    assert load.failures == []
    assert [failure for talk in talks for failure in talk.failures] == []
    assert [gaps(talk) for talk in talks] == [""] * len(talks)
    for talk in talks:
        for tool, reported, ended in talk.calls:
            assert all(earlier < later for earlier, later in itertools.pairwise(reported)), (tool, reported)
            assert "result" in ended or (tool, ended["error"]["code"]) == ("haul", OUTCOME_UNKNOWN), ended
    assert kept(fleet) == secrets


def gaps(talk: Talk) -> str:
    """What is wrong with what a session heard; empty when it is each integer that was acknowledged, in order."""
    heard, said = talk.conversation.heard, list(range(1, talk.said + 1))
    if heard == said:
        return ""
    missing, twice = sorted(set(said) - set(heard)), sorted({number for number in heard if heard.count(number) > 1})
    return f"said {len(said)}, heard {len(heard)} up to {heard[-1:]}; missing {missing}, twice {twice}"


def report(talks: list[Talk]) -> str:
    """The figures of a run."""
    resumed, refused = sum(talk.conversation.resumed for talk in talks), sum(talk.conversation.refused for talk in talks)
    said, calls = sum(talk.said for talk in talks), [ended for talk in talks for _, _, ended in talk.calls]
    unknown = sum("error" in ended for ended in calls)
    return (
        f"{len(talks)} sessions: {said} integers announced, {len(calls)} calls with progress ({unknown} ended as unknown), "
        f"{resumed} streams resumed, {refused} requests refused for the moment"
    )


async def test_sealing_keys_are_rotated_without_a_restart_and_an_upgrade_keeps_the_new_ones(
    fleet: Release, fleet_values: list[str], converse: Callable[[], Any]
) -> None:
    old, new, pods = kept(fleet)["fleet-moorage-sealing-keys"]["sealing-keys"], generate(), fleet.pod_names()
    first = base64.b64decode(old).decode().strip()
    conversation = await converse()
    for ring in ([first, new], [new, first]):
        put(fleet, ring)
        await until(lambda ring=ring: all(sees(fleet, pod, ring) for pod in pods))
        answers = [in_pod(fleet, pod, conversation.session, tool_call("add", a=1, b=1)) for pod in pods]
        assert [answer["status"] for answer in answers] == [200, 200, 200]
    put(fleet, [new])
    await until(lambda: all(in_pod(fleet, pod, conversation.session, tool_call("pod"))["status"] == 404 for pod in pods))
    await (await converse()).call("pod")
    fleet.target.ask("helm", *fleet.helm_arguments("upgrade", *fleet_values, "--set", "config.http.ping_seconds=7"))
    assert base64.b64decode(kept(fleet)["fleet-moorage-sealing-keys"]["sealing-keys"]).decode().split() == [new]
    assert fleet.pod_names() == pods


def put(release: Release, ring: list[str]) -> None:
    text = base64.b64encode("".join(f"{line}\n" for line in ring).encode()).decode()
    patch = json.dumps({"data": {"sealing-keys": text}})
    release.kubectl("patch", "secret", f"{release.name}-moorage-sealing-keys", "--patch", patch)


def sees(release: Release, pod: str, ring: list[str]) -> bool:
    """Whether the kubelet has brought the ring to a pod."""
    return release.kubectl("exec", pod, "--", "cat", "/etc/moorage-sealing/sealing-keys").split() == ring


async def test_while_the_store_is_away_modern_calls_go_on_and_pods_stay_ready(
    fleet: Release, open_fleet: Open, converse: Callable[[], Any]
) -> None:
    await converse()
    load, pods = Load(), fleet.pod_names()
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load.keep_calling, open_fleet)
            await anyio.to_thread.run_sync(fleet.kubectl, "scale", "statefulset/fleet-moorage-valkey", "--replicas=0")
            await until(lambda: fleet.objects("pods", "app.kubernetes.io/component=valkey") == [])
            await load.reaches(200)
            assert fleet.objects("deployments")[0]["status"]["availableReplicas"] == 3
            await anyio.to_thread.run_sync(fleet.kubectl, "scale", "statefulset/fleet-moorage-valkey", "--replicas=1")
            await anyio.to_thread.run_sync(fleet.kubectl, "rollout", "status", "statefulset/fleet-moorage-valkey", "--timeout=90s")
            load.over = True
    assert load.failures == []
    with anyio.fail_after(30):
        await (await converse()).call("pod")
    assert fleet.pod_names() == pods
