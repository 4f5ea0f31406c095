"""Runs the repository's program on the real engine, in this process; reads and writes none of the user's own files."""

import gc
import re
import runpy
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation as auto
from pulumi.automation import _stack
from pulumi.automation._server import LanguageServer
from pulumi.automation.events import EngineEvent, OpType

Say = Callable[[str], Any]

KEPT = ("state", "work")
"""The files that are saved: the state, and the configuration."""


class Host(LanguageServer):
    """Runs a program as the command line does: the engine does not print an error of it a second time."""

    def Run(self, request: Any, context: Any) -> Any:
        response = super().Run(request, context)  # type: ignore[no-untyped-call]
        if response.error:
            response.error, response.bail = "", True
        return response


setattr(_stack, "LanguageServer", Host)  # noqa: B010 - the module does not offer it


@dataclass(frozen=True)
class Step:
    op: str
    """A replacement has three: `create-replacement`, `replace`, `delete-replaced`."""

    type: str
    name: str

    diffs: tuple[str, ...] = field(default=(), compare=False)
    """The properties that changed."""


@dataclass(frozen=True)
class Outcome:
    """What the engine did, or would do."""

    steps: list[Step]
    text: str
    """What the command line prints."""

    @property
    def changes(self) -> list[Step]:
        """In the engine's order, which varies where no resource depends on another."""
        return [step for step in self.steps if step.op not in ("same", "read")]

    @property
    def summary(self) -> dict[str, int]:
        return dict(Counter(step.op for step in self.steps))


class Workspace:
    """One stack of the program in `root`, with its own state; `config` overrides its stack file, key by key.

    The files of the project and the stack are in `project`, or beside the program. With `as_written`, the engine reads
    the stack file unchanged.

    `engine` is the `pulumi` executable, `providers` what `provider.serve` yields. A command that fails raises
    `pulumi.automation.CommandError`, whose text is the engine's.
    """

    def __init__(
        self,
        root: Path,
        stack: str,
        engine: Path,
        providers: str,
        config: Mapping[str, object] | None = None,
        as_written: bool = False,
        project: Path | None = None,
    ) -> None:
        files = project or root
        self._folder = tempfile.TemporaryDirectory(prefix="slipway-")
        self.saved = False
        """Whether it may be loaded again."""
        folder = Path(self._folder.name)
        for name in ("bin", "home", "state", "work"):
            (folder / name).mkdir()
        (folder / "bin" / "pulumi").symlink_to(engine)
        described, self._settings = folder / "work" / "Pulumi.yaml", folder / "work" / f"Pulumi.{stack}.yaml"
        described.write_text((files / described.name).read_text())
        # Only the configuration: with the key of the user's secrets, the engine would prompt for their passphrase.
        self._settings.write_text("{}")
        if (files / self._settings.name).exists() and not as_written:  # a stack may have no file but `config`
            self.configure(yaml.safe_load((files / self._settings.name).read_text())["config"])
        self.configure(config or {})

        self.program: Callable[[], object] = lambda: runpy.run_path(str(root / "__main__.py"), run_name="__main__")
        """The program that the engine runs; it can be replaced by another version."""

        def program() -> None:
            self.program()

        options = auto.LocalWorkspaceOptions(
            work_dir=str(folder / "work"),
            pulumi_home=str(folder / "home"),
            pulumi_command=auto.PulumiCommand(str(folder), skip_version_check=True),
            env_vars={
                "PULUMI_BACKEND_URL": f"file://{folder}/state",
                "PULUMI_CONFIG_PASSPHRASE": "stand-in",
                "PULUMI_CREDENTIAL_STORE": "plaintext",
                "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
                "PULUMI_DEBUG_PROVIDERS": providers,
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                # Calls that bypass the stand-in fail at once, and reach no real account.
                "AWS_ACCESS_KEY_ID": "stand-in",
                "AWS_SECRET_ACCESS_KEY": "stand-in",
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            },
        )
        name = yaml.safe_load(described.read_text())["name"]
        self._stack = auto.create_stack(stack, project_name=name, program=program, opts=options)
        if as_written and (files / self._settings.name).exists():
            self._copy((files / self._settings.name).read_text())
        # After each command the API would query the CLI for the stack's history, and after `up` for its outputs twice,
        # which takes longer than some commands.
        self._stack.info = lambda *_, **__: object()  # type: ignore
        self._exports = self._stack.outputs
        self._stack.outputs = dict  # type: ignore

    def _copy(self, text: str) -> None:
        """Copies a stack file without the user's secrets, whose values only they can read."""
        text = re.sub(r"(?m)^(encryptionsalt|secretsprovider|encryptedkey):.*\n?", "", text)
        if re.search(r"\bsecure:", text):
            self._stack.set_config("stand-in:secret", auto.ConfigValue("unknown", secret=True))
            settings = yaml.safe_load(self._settings.read_text())
            secret, salt = settings["config"]["stand-in:secret"]["secure"], settings["encryptionsalt"]
            text = re.sub(r"(\bsecure:\s*)[^\s,}]+", lambda m: f"{m[1]}{secret}", text)
            text = f"{text.rstrip()}\nencryptionsalt: {salt}\n"
        self._settings.write_text(text)

    def configure(self, config: Mapping[str, object]) -> None:
        """Sets keys of the configuration; None removes one."""
        settings = yaml.safe_load(self._settings.read_text())
        merged = {**settings.get("config", {}), **config}
        settings["config"] = {key: value for key, value in merged.items() if value is not None}
        self._settings.write_text(yaml.safe_dump(settings))

    def configuration(self) -> dict[str, Any]:
        """The current contents of its stack file."""
        config: dict[str, Any] = yaml.safe_load(self._settings.read_text())["config"]
        return config

    def preview(self, refresh: bool = False, on_output: Say | None = None) -> Outcome:
        return _run(self._stack.preview, refresh=refresh, on_output=on_output)

    def up(self, refresh: bool = False, on_output: Say | None = None) -> Outcome:
        return _run(self._stack.up, refresh=refresh, on_output=on_output)

    def refresh(self, on_output: Say | None = None) -> Outcome:
        return _run(self._stack.refresh, on_output=on_output)

    def preview_destroy(self, on_output: Say | None = None) -> Outcome:
        """The first step of `pulumi destroy`; `destroy` here omits it."""
        return _run(self._stack.preview_destroy, on_output=on_output)

    def destroy(self, exclude_protected: bool = False, on_output: Say | None = None) -> Outcome:
        return _run(self._stack.destroy, exclude_protected=exclude_protected, on_output=on_output)

    def unprotect(self) -> None:
        """`pulumi state unprotect --all`"""
        state = self._stack.export_stack()
        assert state.deployment is not None
        for resource in state.deployment["resources"]:
            resource.pop("protect", None)
        self._stack.import_stack(state)

    def outputs(self) -> dict[str, Any]:
        """The exports."""
        return {name: output.value for name, output in self._exports().items()}

    def save(self, folder: Path) -> None:
        """Saves the state and the configuration to a folder."""
        self.saved = True
        for name in KEPT:
            shutil.copytree(Path(self._folder.name, name), folder / name)

    def load(self, folder: Path) -> None:
        """Loads them from there, replacing the current ones."""
        for name in KEPT:
            shutil.rmtree(Path(self._folder.name, name))
            shutil.copytree(folder / name, Path(self._folder.name, name))

    def close(self) -> None:
        self._folder.cleanup()


def _run(command: Callable[..., Any], **options: Any) -> Outcome:
    steps: dict[tuple[str, str], Step] = {}

    def listen(event: EngineEvent) -> None:
        # By URN, since a component's outputs are an event of their own. `refresh` is what `--refresh` reads beforehand:
        # any change has a step of its own later. The engine does not count providers.
        step = event.res_outputs_event and event.res_outputs_event.metadata
        if step and step.op != OpType.REFRESH and not step.type.startswith("pulumi:providers:"):
            op, name = step.op.value, step.urn.rpartition("::")[2]
            steps[op, step.urn] = Step(op, step.type, name, tuple(step.diffs or ()))

    result = command(on_event=listen, color="never", **options)
    _leave_modules_alone()
    return Outcome(list(steps.values()), result.stdout)


@cache
def _leave_modules_alone() -> None:
    """Once: keeps the imported SDK loaded, and out of garbage collection, which takes a third of a command's time."""
    gc.collect()
    gc.freeze()
