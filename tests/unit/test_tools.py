import shutil
from pathlib import Path

import pytest
from standin import tools


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tools, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in ("engine", "builder"):
        (tmp_path / module).mkdir()
    (tmp_path / "engine" / "go.mod").write_text("require github.com/pulumi/pulumi/pkg/v3 v3.1.2\n")
    (tmp_path / "builder" / "go.mod").write_text(
        "require (\n\tgithub.com/docker/buildx v0.4.5\n\tgithub.com/moby/buildkit v0.6.7 // indirect\n)\n"
    )
    monkeypatch.setattr(tools, "MODULES", tmp_path)
    return tmp_path


def test_builds_are_kept_by_the_versions_that_go_mod_requires(modules: Path) -> None:
    assert tools._build_name(tools._versions("engine", tools.ENGINE)) == "pulumi-3.1.2"
    assert tools._build_name(tools._versions("builder", tools.BUILDER)) == "buildx-0.4.5-buildkitd-0.6.7"


def test_a_module_that_does_not_require_its_program_is_refused(modules: Path) -> None:
    (modules / "engine" / "go.mod").write_text("module slipway.invalid/engine\n")
    with pytest.raises(ValueError) as error:
        tools._versions("engine", tools.ENGINE)
    assert str(error.value) == "tests/standin/engine/go.mod must require github.com/pulumi/pulumi/pkg/v3, for pulumi"


def test_a_program_is_taken_from_path_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/somewhere/{program}")
    assert tools.engine() == Path("/somewhere/pulumi")


def test_without_pulumi_and_go_the_message_says_where_to_get_either(
    cache: Path, modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(tools.Unavailable) as error:
        tools.engine()
    assert str(error.value) == (
        "pulumi cannot be built, because Go is not on PATH: install it (https://go.dev/doc/install), "
        "or install pulumi itself (https://www.pulumi.com/docs/install)"
    )


def test_what_is_in_the_cache_is_not_made_again(cache: Path) -> None:
    made: list[Path] = []
    folders = [tools._once("thing-1", made.append, print) for _ in range(2)]
    assert folders == [cache / "thing-1", cache / "thing-1"]
    assert len(made) == 1


def test_a_make_that_is_cut_off_leaves_nothing_that_looks_made(cache: Path) -> None:
    def cut_off(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tools._once("thing-1", cut_off, print)
    assert [entry.name for entry in cache.iterdir()] == ["thing-1.lock"]


def test_a_daemon_that_ends_at_once_is_reported_with_its_own_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no room >&2; exit 3"]
    with pytest.raises(tools.Broken) as error, tools._daemon("it", command, tmp_path / "log", lambda: False):
        pass
    assert str(error.value) == "it ended as soon as it was started, and said:\nno room\n"


def test_a_daemon_is_gone_when_its_context_ends(tmp_path: Path) -> None:
    number = tmp_path / "number"
    command = ["sh", "-c", f"echo $$ > {number}.part; mv {number}.part {number}; exec sleep 60"]
    with tools._daemon("it", command, tmp_path / "log", number.exists):
        process = Path("/proc") / number.read_text().strip()
        assert process.exists()
    assert not process.exists()
