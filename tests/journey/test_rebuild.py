"""How long a build of the next commit takes on a machine that has built nothing before, with the cache and without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from standin.world import Workshop

from journey.builds import Account, commit, opened, released, tag

# As of a service with dependencies: they are installed from a list, in a step before the code is copied. The packages
# are made up, since nothing is downloaded here; installing them is writing and compiling their modules, as pip does.
INSTALL = """
import compileall, pathlib, sys
site = pathlib.Path("/opt/site")
for line in open("/app/requirements.txt"):
    package = site / line.strip()
    package.mkdir(parents=True)
    for number in range(25):
        functions = (f"def f{n}(a, b={n}):\\n    return [a + i * b for i in range({n})]\\n" for n in range(700))
        (package / f"m{number}.py").write_text("".join(functions))
sys.exit(not compileall.compile_dir(site, quiet=1))
"""
DOCKERFILE = """FROM {base}
WORKDIR /app
COPY install.py requirements.txt ./
RUN python3 install.py
COPY . .
ARG COMMIT_ID
ENV COMMIT_ID=$COMMIT_ID
CMD ["python3", "server.py"]
"""
REQUIREMENTS = "".join(f"package{number}\n" for number in range(40))


@pytest.fixture(scope="module")
def account(shared: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with opened(shared, tmp_path_factory.mktemp("rebuild")) as made:
        yield made


@pytest.mark.occasional
def test_a_rebuild_after_a_changed_line_is_five_times_faster_than_one_without_the_cache(
    account: Account, record_property: Callable[[str, object], None]
) -> None:
    files = {
        "Dockerfile": DOCKERFILE.format(base=account.workshop.base_image),
        "install.py": INSTALL,
        "requirements.txt": REQUIREMENTS,
    }

    def seconds(text: str, **variables: str) -> float:
        home, given = account.prepare("web", commit(text), {**files, "server.py": f"print({text!r})\n"})
        account.forget_local_cache()
        began = time.monotonic()
        run = account.run(home, {**given, **variables})
        took = time.monotonic() - began
        suffix = f"-{variables['PIPELINE_EXECUTION_ID']}" if variables else ""
        assert run.released == released(account, "web", tag(commit(text)) + suffix), run.log
        return took

    seconds("first")
    with_cache = seconds("second")
    without = seconds("third", REBUILD="true", PIPELINE_EXECUTION_ID="0a1b2c3d")
    record_property("rebuild", (with_cache, without))
    assert with_cache * 5 <= without
