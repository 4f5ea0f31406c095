"""`make preview STACK=prod`: the real engine's preview of a stack, against a stand-in for AWS that is empty."""

import sys

from pulumi.automation import CommandError

from standin import tools
from standin.world import World, stack_file


def main(stack: str) -> int:
    try:
        # No image is built or pulled in a preview, so any address does for the registry.
        with World("registry.invalid", {}, tools.engine()) as account:
            if (image := stack_file(stack)["slipway:source"].get("image")) is not None:
                account.ecr.create_repository({"repositoryName": image["repository"]})  # another stack's
            account.workspace(stack).preview(
                on_output=lambda text: print(text, end="" if text.endswith("\n") else "\n")
            )
    except tools.Unavailable as e:
        print(f"The preview cannot run here: {e}")
        return 1
    except CommandError:
        return 1  # the engine has said what is wrong
    print("This was the real engine with the program of this folder, in one process, against a stand-in for AWS.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
