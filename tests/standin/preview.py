"""`make preview STACK=prod`: the real engine's preview of a stack, against an empty stand-in for AWS.

It has only the repositories that the other stacks of the project create, and those that are named.
"""

import sys
from pathlib import Path

import yaml
from pulumi.automation import CommandError

from standin import tools
from standin.world import ROOT, World


def main(stack: str, *repositories: str, root: Path = ROOT) -> int:
    project = yaml.safe_load((root / "Pulumi.yaml").read_text())["name"]
    others = {file.name.split(".")[1] for file in root.glob("Pulumi.*.yaml")} - {stack}
    try:
        # A preview neither builds nor pulls an image, so any address will do for the registry.
        with World("registry.invalid", {}, tools.engine()) as account:
            for name in sorted({*repositories, *(f"{project}-{other}" for other in others)}):
                account.ecr.create_repository({"repositoryName": name})
            workspace = account.workspace(stack, project=root, as_written=True)
            workspace.preview(on_output=lambda text: print(text, end="" if text.endswith("\n") else "\n"))
    except tools.Unavailable as e:
        print(f"The preview cannot run here: {e}")
        return 1
    except CommandError as e:
        # The output has errors of the program, but not those of the stack file.
        print(str(e).partition("stderr:")[2].strip())
        return 1
    print("This was the real engine with the program of this folder, in one process, against a stand-in for AWS.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
