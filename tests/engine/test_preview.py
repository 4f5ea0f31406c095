"""`make preview` and `pulumi up` report the same for a stack file, as the engine reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pulumi.automation import CommandError
from standin import preview
from standin.tools import registry
from standin.world import SAMPLE, World

SOURCE = "  aws:region: eu-west-1\n  slipway:source: {codecommit: {repository: storefront}}\n"
QUICK = ("a blank approval", "a key twice")
FILES: dict[str, tuple[str | None, list[str]]] = {
    "a blank approval": (
        f"config:\n{SOURCE}  slipway:stages:\n    - approval:\n      tests: {{commands: ['true']}}\n",
        ["slipway:stages[0].approval is blank: write {} for the defaults, false to turn it off, or remove the key"],
    ),
    "mistakes of all kinds": (
        "config:\n  aws:region: eu-west-1\n  slipway:source: {image: {stack: dev}}\n  slipway:build: {}\n"
        "  slipway:service: {port: 99999}\n  slipway:stages: [{name: a}, {name: a}]\n  stages: []\n"
        "  slipway:Registry: {}\n",
        [
            "storefront:stages is not read; did you mean slipway:stages?",
            "slipway:Registry is not a key (did you mean registry?)",
            "slipway:service.port must be between 1 and 65535, got 99999",
            "slipway:stages must have different names, got ['a', 'a']",
            "slipway:build must not be set if the source is an image",
        ],
    ),
    "a part that is blank": (
        f"config:\n{SOURCE}  slipway:scanGate:\n",
        ["slipway:scanGate is blank: write {} for the defaults, false to turn it off, or remove the key"],
    ),
    "a value that is encrypted": (
        f"encryptionsalt: v1:x\nconfig:\n{SOURCE}  slipway:service: {{environment: {{A: {{secure: v1:x}}}}}}\n",
        ["slipway:service must not be secure"],
    ),
    "a key twice": (
        "config:\n  slipway:source: {codecommit: {repository: a, repository: b}}\n",
        ['mapping key "repository" already defined'],
    ),
    "no YAML": ("config: [\n", ["invalid YAML file"]),
    "a source of another form": (
        "config:\n  aws:region: eu-west-1\n  slipway:source: github\n",
        ["slipway:source must be a map with one of codecommit, connection, s3, image, got 'github'"],
    ),
    "no source": ("config:\n  aws:region: eu-west-1\n", ["slipway:source is required"]),
    "an empty file": ("", ["slipway:source is required"]),
    "no file": (None, ["slipway:source is required"]),
    "a repository that is missing": (
        "config:\n  aws:region: eu-west-1\n  slipway:source: {image: {stack: dve}}\n",
        ["there is no ECR repository storefront-dve in this account and Region"],
    ),
}


def written(folder: Path, text: str | None) -> Path:
    """A project with one unusual stack file."""
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        shutil.copy(SAMPLE / name, folder)
    if text is not None:
        (folder / "Pulumi.odd.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "lines"),
    [pytest.param(*FILES[name], id=name, marks=[] if name in QUICK else [pytest.mark.long]) for name in FILES],
)
def test_an_unusual_stack_file_has_the_same_result_in_a_preview_and_in_an_up(
    text: str | None, lines: list[str], engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = written(tmp_path, text)
    assert preview.main("odd", root=root) == 1
    previewed = capsys.readouterr().out
    with registry() as address, World(address, {}, engine) as account:
        account.ecr.create_repository({"repositoryName": "storefront-dev"})
        with pytest.raises(CommandError) as failure:
            account.workspace("odd", project=root, as_written=True).up()
        assert account.aws.resources == {}
    for output in (previewed, str(failure.value)):
        assert "Traceback" not in output
        # Above it, the row of the stack has the first line too.
        diagnostics = output.partition("Diagnostics:")[2] or output
        assert {line: diagnostics.count(line) for line in lines} == dict.fromkeys(lines, 1)
        assert diagnostics.count("error: ") == 1


@pytest.mark.long
def test_words_that_yaml_1_1_reads_as_true_are_strings(
    engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = "config:\n  aws:region: eu-west-1\n  slipway:source: {codecommit: {repository: storefront, branch: on}}\n"
    assert preview.main("odd", root=written(tmp_path, file)) == 0
    assert "storefront-odd" in capsys.readouterr().out


@pytest.mark.long
def test_a_missing_repository_of_another_project_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = "config:\n  aws:region: eu-west-1\n  slipway:source: {image: {repository: web, tag: stable}}\n"
    root = written(tmp_path, file)
    assert preview.main("odd", root=root) == 1
    assert "there is no ECR repository web" in capsys.readouterr().out
    assert preview.main("odd", "web", root=root) == 0


@pytest.mark.long
def test_a_secret_by_name_that_is_missing_is_named_by_the_preview(engine: Path) -> None:
    with World("registry.invalid", {}, engine) as account:
        account.missing_secrets.add("shop/db")
        secrets = {"DB": "secretsmanager:shop/db:password::"}
        workspace = account.workspace("dev", {"slipway:service": {"healthPath": "/healthz", "secrets": secrets}})
        with pytest.raises(CommandError) as failure:
            workspace.preview()
    assert "there is no secret called shop/db in this account and Region" in str(failure.value)
    assert "Traceback" not in str(failure.value)
