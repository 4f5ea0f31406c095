"""`make demo`: from a commit to a running service and back to an empty preview, on this machine and without AWS."""

from __future__ import annotations

import re
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from standin.ecr import Scan
from standin.executor import Action, Execution
from standin.running import run
from standin.single_tasks import Outcome
from standin.tools import Unavailable
from standin.world import Workshop, World, sample_app, stack_file, workshop

STARTED = time.monotonic()
WIDTH = 120


def say(text: str = "") -> None:
    """A line, prefixed with the seconds since the start; a long line is wrapped."""
    line = f"{time.monotonic() - STARTED:6.1f} s  {brief(text)}" if text else ""
    print("\n".join(textwrap.wrap(line, WIDTH, subsequent_indent=" " * 14, break_on_hyphens=False)), flush=True)


def brief(text: str) -> str:
    """A message without the registry's address, and with digests and commits shortened to 12 hex digits."""
    text = re.sub(r"127\.0\.0\.1:\d+/", "", text)
    text = re.sub(r"\b(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1…", text)
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28}\b", r"\1…", text)
    # The line about the rollback by ECS says it already; the next line says what is running now.
    return re.sub(r"Rolling back to the last verified image, [^)]*\)\. ", "", text)


@contextmanager
def chapter(title: str) -> Iterator[None]:
    say()
    print(f"\033[1m{title}\033[0m" if sys.stdout.isatty() else title, flush=True)
    yield


def show(execution: Execution, action: Action) -> None:
    """An action of the pipeline, when it has ended."""
    if action.status == "InProgress":
        return
    took = action.ended - action.began
    mark = "✓" if action.status == "Succeeded" else "✗"
    known = execution.variables
    messages = {
        "Source": f"commit {known['Source.CommitId']}"
        if "Source.CommitId" in known
        else f"image {known.get('Source.ImageDigest', '')} by its tag {known.get('Source.ImageTag', '')}",
        "Build": f"tests passed, image pushed: {known.get('Build.IMAGE_DIGEST', '')}",
        "Approve": "approved",
    }
    text = action.message or messages.get(action.name, "")
    say(f"  {mark} {action.name:<7} {took:4.0f} s of AWS time   {text}")


def describe(account: World, stack: str = "dev") -> None:
    name = f"storefront-{stack}"
    [service] = account.ecs.describe_services({"cluster": name, "services": [name]})["services"]
    definition = account.ecs.describe_task_definition({"taskDefinition": service["taskDefinition"]})["taskDefinition"]
    image = definition["containerDefinitions"][0]["image"]
    say(
        f"  ECS: {service['runningCount']} of {service['desiredCount']} tasks of "
        f"{definition['family']}:{definition['revision']} (cpu {definition['cpu']}), image {image}"
    )


@contextmanager
def printing_shares(account: World, balancer: str) -> Iterator[None]:
    """Prints how the traffic shifts, as it does."""
    sleep, seen = account.clock.sleep, [account.traffic(balancer)]

    def sleep_and_print(seconds: float) -> None:
        sleep(seconds)
        now = account.traffic(balancer)
        if now and now != seen[-1]:
            seen.append(now)
            say("      traffic: " + ", ".join(f"{share} % to {digest}" for digest, share in now.items()))

    account.clock.sleep = sleep_and_print  # type: ignore[method-assign]
    try:
        yield
    finally:
        account.clock.sleep = sleep  # type: ignore[method-assign]


def demo(shared: Workshop, account: World, folder: Path) -> None:
    workspace = account.workspace("dev", {"slipway:build": shared.build_settings("dev")})
    repository = account.repository("storefront", folder / "storefront")
    account.codepipeline.watch = show

    with chapter("1  pulumi up (stack dev): everything, and no image yet"):
        done = workspace.up()
        say(f"  {done.summary['create']} resources created")
        describe(account)
    with chapter("2  git push: the first release"):
        repository.commit("The sample service", sample_app())
        account.codepipeline.push("storefront")
        describe(account)
    with chapter("3  git push: the next commit"):
        changed = sample_app()["app/server.py"].replace("Hello from Slipway", "Hello again from Slipway")
        repository.commit("Another greeting", {"app/server.py": changed})
        [second] = account.codepipeline.push("storefront")
        describe(account)
    with chapter("4  pulumi preview: what the pipeline released is not a change"):
        seen = workspace.preview(refresh=True)
        say(f"  {len(seen.changes)} changes, {seen.summary['same']} resources are the same")
    with chapter("5  cpu: 256 -> 512 in Pulumi.dev.yaml, pulumi up: the settings change, the image stays"):
        service: dict[str, Any] = stack_file("dev")["slipway:service"]
        workspace.configure({"slipway:service": {**service, "cpu": 512, "memory": 1024}})
        for step in sorted(
            {(step.name, step.op.replace("create-replacement", "replace")) for step in workspace.up().changes}
        ):
            if not step[1].startswith("delete"):
                say(f"  {step[1]:<8} {step[0]}")
        describe(account)
    with chapter("6  an image with a critical vulnerability: the scan gate stops it"):
        scan = account.ecr.scan
        account.ecr.scan = lambda digest: Scan(findings=[FINDING])
        repository.commit("With an outdated library", {"app/requirements.txt": "leftpad==1.0\n"})
        account.codepipeline.push("storefront")
        account.ecr.scan = scan
    with chapter("7  a commit that does not start: ECS rolls it back, and the release fails with the reason"):
        account.ecs.fault = lambda definition: None if second.digest in str(definition) else "exit 1"
        repository.commit("Does not start", {"app/server.py": "raise SystemExit(1)\n", "app/test_server.py": ""})
        account.codepipeline.push("storefront")
        account.clock.sleep(60)
        describe(account)
    with chapter("8  pulumi up (stack prod): it builds nothing, and promotes what dev verified"):
        done = account.workspace("prod").up()
        say(f"  {done.summary['create']} resources created")
        account.codepipeline.start("storefront-prod")
        describe(account, "prod")
    with chapter("9  git push: fixed, verified in dev, and after an approval a canary in prod"):
        account.ecs.fault = lambda definition: None
        repository.commit("Fixed", sample_app())
        account.codepipeline.push("storefront")
        with printing_shares(account, "storefront-prod"):
            account.codepipeline.settle()
        describe(account, "prod")
    with chapter("10  a worker and a migration in Pulumi.dev.yaml, pulumi up, git push: one release for all of them"):
        beside = {"processes": {"worker": {"command": ["python3", "worker.py"], "tasks": {"min": 1}}}}
        migration = {"migration": {"command": ["python3", "migrate.py"]}}
        workspace.configure({"slipway:service": {**service, "cpu": 512, "memory": 1024, **beside, **migration}})
        done = workspace.up()
        say(f"  {done.summary['create']} resources created, {done.summary['same']} are the same")
        account.ecs.outcome = lambda task: run_command(account, "migration", task["taskDefinitionArn"])
        repository.commit("With a worker", {"app/NOTES": "With a worker"})
        account.codepipeline.push("storefront")
        of = {"cluster": "storefront-dev", "services": ["storefront-dev-worker"]}
        [running] = account.ecs.describe_services(of)["services"]
        run_command(account, "worker", running["taskDefinition"], endless=True)


def run_command(account: World, name: str, definition: str, endless: bool = False) -> Outcome:
    """Runs the command of a task definition in its image, and shows what it logs."""
    described = account.ecs.describe_task_definition({"taskDefinition": definition})["taskDefinition"]
    outcome = run(described, account.build_environment, endless)
    command = " ".join(described["containerDefinitions"][0]["command"])
    say(f"  ▸ {name}: {command} really runs, and exits with {outcome.exit}: {'  '.join(outcome.lines)}")
    return outcome


FINDING = {"name": "CVE-2026-0001", "severity": "CRITICAL", "uri": "https://example.com"}


class Terminated(BaseException):
    """The process received SIGTERM."""


def stop(*_: object) -> None:
    raise Terminated


def main() -> int:
    # Also if it was started with SIGINT ignored, as a shell does for a background job.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, stop)
    print("Slipway on this machine: the real Pulumi engine, a real image build, and a stand-in for AWS on loopback.")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="slipway-demo-") as folder,
            workshop(say) as shared,
            shared.account() as account,
        ):
            demo(shared, account, Path(folder))
    except Unavailable as e:
        print(f"\nThe demo cannot run here: {e}")
        return 1
    except (KeyboardInterrupt, Terminated) as e:
        print("\nStopped; nothing is left running.")
        return 143 if isinstance(e, Terminated) else 130
    say()
    say("done. Nothing is left running, and nothing of yours was touched. Next: README.md, Deploy to AWS.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
