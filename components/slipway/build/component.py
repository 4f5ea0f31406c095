"""Build: the CodeBuild project that tests a commit, builds its image and pushes it."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway import codebuild, iam, reports
from slipway._constraints import Must, arn, between, check, is_output, items, match, one_of
from slipway._outputs import concat, filled
from slipway._rules import check_args, check_name
from slipway._secrets import KmsKeyArn, SecretReference, plaintext_rules, plaintext_values, secret_statements
from slipway.artifacts import ArtifactStore
from slipway.codebuild import IMAGES, VARIABLES_LIMIT, ComputeType, ImageReference, LogDays, path_inside
from slipway.iam import Permission, Scope, Statement, allow
from slipway.registry import PULL, Repository
from slipway.release.function import partitions
from slipway.reports import Report, Reports
from slipway.service.args import ContainerName
from slipway.service.containers import User
from slipway.service.volumes import WritablePaths

INSTEAD = "put it into secrets and mount it in the Dockerfile"
# Commands and arguments are passed in one environment variable each, one per line.
TestCommand = Annotated[
    str, match(r"[^\S\r\n]*\S[^\r\n]*", "be a command of one line", "make test", [" ", "make\ntest", "make\r"])
]
ArgumentName = Annotated[
    str,
    match(r"[A-Za-z_][A-Za-z0-9_]*", "be a name of A-Z a-z 0-9 _ that does not begin with a digit", "A", ["A-B", "1A"]),
]
"""https://docs.docker.com/reference/dockerfile/#arg"""
ArgumentValue = Annotated[
    pulumi.Input[str],
    Must(
        "be one line",
        lambda value: not any(end in value for end in "\r\n\0"),
        {"pattern": "^[^\\r\\n]*$"},
        good=["", "a=b c"],
        bad=["1\n2", "1\r"],
    ),
]


SecretId = Annotated[
    str,
    match(r"[A-Za-z0-9_][A-Za-z0-9._-]*", "be an id of A-Z a-z 0-9 . _ -", "npmrc", ["a b", "-a", "a=b", "a,b", "Ä"]),
]
"""https://docs.docker.com/build/building/secrets/"""
RepositoryArn = Annotated[
    pulumi.Input[str],
    arn("an ECR repository", "ecr", r"repository/[a-z0-9._/-]*([a-z0-9]|[a-z0-9]/\*)", "repository/base/*"),
]
RegistryHost = Annotated[
    str,
    match(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d+)?",
        "be the host of a registry, such as docker.io",
        "registry.example.com:5000",
        ["https://x", "a/b", "a b", "A.io"],
    ),
]
SecretsManagerArn = Annotated[
    pulumi.Input[str],
    arn("a secret in Secrets Manager", "secretsmanager", r"secret:[\w/+=.@-]+", "secret:hub-a1b2c3", shown=False),
]
MirrorPrefix = Annotated[
    str,
    match(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*",
        "be a registry with or without a prefix, such as public.ecr.aws/docker",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/docker-hub",
        ["https://x", "a/", "a b", "A.io"],
    ),
]
DockerfilePath = Annotated[
    str,
    Must(
        "be a relative path of a file",
        lambda path: path not in ("", "..") and path[0] != "/" and path[-1] != "/" and path.isprintable(),
        {"pattern": r"^(?!/)(?!\.\.$).*[^/]$"},
        good=["Dockerfile", "../docker/api.Dockerfile"],
        bad=["", "/Dockerfile", "docker/", "..", "a\nb"],
    ),
]
CpuArchitecture = Annotated[str, one_of(IMAGES)]
StageName = Annotated[
    str, match(r"[a-z][a-z0-9._-]*", "be the name of a stage of a Dockerfile", "release-2.1", ["1", "a b", "-x", "Ä"])
]
"""https://docs.docker.com/build/building/multi-stage/"""


@dataclass(frozen=True, kw_only=True)
class Sbom:
    """A software bill of materials in the format SPDX, made by BuildKit and attached to each image as a referrer, with
    which the image's digest stays as it is. ECR deletes it with the image.

    https://docs.docker.com/build/metadata/attestations/sbom/
    """

    generator: ImageReference = "docker/buildkit-syft-scanner:stable-1"
    """Image that makes it, by tag or by digest."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """Settings of a Build that can also be set in a stack file."""

    context: Annotated[str, path_inside("the repository")] = "."
    """Folder of the repository that is the build context."""

    dockerfile: DockerfilePath = "Dockerfile"
    """Path of the Dockerfile, relative to `context`. It may begin with `../`, but not leave the repository."""

    target: StageName | None = None
    """Stage of the Dockerfile to build; by default, the last one."""

    cpu_architectures: Annotated[Sequence[CpuArchitecture], items(distinct=True)] = ()
    """CPU architectures of the image; by default, only that of the service. With two, the image is tested and built on
    both at the same time, which takes a CodeBuild quota of two concurrent builds, and released as an index of both;
    each of the three counts as an image of the registry."""

    test_commands: Sequence[TestCommand] = ()
    """Commands that run in each execution before the image is built, each with bash in the root of the source. If one
    fails, nothing is pushed."""

    reports: Reports = ()
    """Reports that `test_commands` write. Their report groups are in the same account and Region. When an earlier image
    is released again, nothing is tested, and each report has one skipped test."""

    build_args: Mapping[ArgumentName, ArgumentValue] = field(default_factory=dict)
    """Build arguments of the Dockerfile. Anyone who can read the project can read them: do not put secrets here."""

    secrets: Mapping[SecretId, SecretReference] = field(default_factory=dict)
    """Secrets that the Dockerfile mounts, by id: the ARN of a secret in Secrets Manager, optionally followed by
    `:<json key>::` for one of its keys, or of a parameter in Parameter Store; in the same Region. Or, in this account,
    by name: `secretsmanager:shop/db` or `ssm:/shop/token`. They are neither in the image nor in the
    layer cache. A mount whose id is missing here fails the build."""

    secrets_kms_key_arns: Annotated[Sequence[KmsKeyArn], items(distinct=True)] = ()
    """Customer managed KMS keys that `secrets` are encrypted with."""

    pull_repositories: Annotated[Sequence[RepositoryArn], items(distinct=True)] = ()
    """Other ECR repositories that the build may pull from, such as those of private base images or of `builder_image`:
    their ARNs, in any account and Region. An ARN that ends with `/*` stands for the repositories of a pull-through
    cache, which it may also fill. The build is signed in to each registry."""

    registry_logins: Mapping[RegistryHost, SecretsManagerArn] = field(default_factory=dict)
    """Registries outside ECR that the build signs in to, by host, such as `docker.io`: the ARN of a secret in Secrets
    Manager with the keys `username` and `password`, in the same Region. `secrets_kms_key_arns` are for these too."""

    docker_hub_mirror: MirrorPrefix | None = None
    """Registry that images of Docker Hub are pulled from, which limits anonymous pulls: `public.ecr.aws/docker` for
    Docker's official images, or the prefix of a pull-through cache in ECR, whose repositories must be in
    `pull_repositories`. Images that it does not have still come from Docker Hub."""

    sbom: Sbom | None = None
    """Attach a software bill of materials to each image. By default, there is none."""

    permissions: Sequence[Permission] = ()
    """Other permissions of the build's role, for `test_commands` and for your own buildspec."""

    not_secret: Sequence[str] = ()
    """Names of `build_args` whose values look like credentials but are not; `commands` for the contents of
    `test_commands`."""

    buildspec: Annotated[str, path_inside("the repository")] | None = None
    """Path of a buildspec in the repository to run instead of Slipway's build. It must push the image and write
    imagedefinitions.json. The pipeline then has no variable to release an earlier digest
    again."""

    compute_type: ComputeType = "BUILD_GENERAL1_SMALL"
    """CodeBuild's compute type."""

    timeout_minutes: Annotated[int, between(5, 2160)] = 30
    """Minutes after which a build is stopped."""

    builder_image: ImageReference = "moby/buildkit:v0.34.2"
    """BuildKit image for the build, by tag or by digest. Docker Hub limits anonymous pulls, so a copy in your own
    registry, which is then one of `pull_repositories`, is more reliable."""

    log_retention_days: LogDays = 30
    """Days to keep the build's log."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        commands = {"test_commands": self.test_commands}
        yield from plaintext_rules("build_args", self.build_args, self.not_secret, INSTEAD, **commands)
        yield too_long(self, self.build_args)
        yield from reports.rules(self.reports)
        yield bool(self.reports) and not self.test_commands, "reports must be empty without test_commands"
        own = ("test_commands", "reports", "build_args", "target", "secrets", "registry_logins", "docker_hub_mirror")
        ignored = [name for name in (*own, "cpu_architectures", "sbom") if getattr(self, name)]
        yield (
            self.buildspec is not None and bool(ignored),
            f"buildspec must not be combined with {' and '.join(ignored)}, got {self.buildspec!r}: "
            "put that into the buildspec",
        )
        path = posixpath.normpath(posixpath.join(self.context, self.dockerfile))
        yield (
            path.split("/")[0] == "..",
            f"dockerfile must be in the repository, got {self.dockerfile!r}, which is relative to the context "
            f"{self.context!r}",
        )


def too_long(settings: BuildSettings, build_args: Mapping[str, pulumi.Input[str]]) -> tuple[bool, str]:
    """Whether the settings with these build arguments are too long together, with the message for it."""
    known = [settings.context, settings.dockerfile, settings.target or "", "\n".join(settings.test_commands)]
    images = [settings.builder_image, *([settings.sbom.generator] if settings.sbom else [])]
    known += [image for image in images if isinstance(image, str)]
    known += [" ".join(settings.secrets), " ".join(settings.registry_logins), settings.docker_hub_mirror or ""]
    # The variable has their registries, which are about as long.
    known += [each for each in settings.pull_repositories if isinstance(each, str)]
    # Each argument also has an equals sign and a line break.
    length = sum(map(len, known)) + codebuild.characters(build_args) + 2 * len(build_args)
    references = secret_variables(settings.secrets) | login_variables(settings.registry_logins)
    length += codebuild.characters(references)
    return (
        length > VARIABLES_LIMIT,
        f"test_commands, build_args and the build's other settings must have at most {VARIABLES_LIMIT} characters in "
        f"total, got {length}: put the commands into a script in the repository",
    )


@dataclass(frozen=True, kw_only=True)
class BuildArgs(BuildSettings):
    """Arguments of Build."""

    registry: Repository
    """Registry that the image is pushed to."""

    container_name: ContainerName = "app"
    """Name of the container in the deployed services whose image this is."""

    cpu_architecture: CpuArchitecture = "X86_64"
    """CPU architecture of the build and of the image, X86_64 or ARM64, without `cpu_architectures`. It must be that of
    the service."""

    full_clone: bool = False
    """Whether the pipeline's source is a full clone, as its `full_clone` says. The build then outputs two artifacts:
    BuildArtifact with imagedefinitions.json, and Checkout with the files of the commit."""

    writable_paths: WritablePaths = ()
    """Paths that the service mounts as writable. The build fails if the image's user could not write to them. Your own
    buildspec does not check it."""

    container_user: User | None = None
    """User of the container in the service, if that is not the image's."""

    @property
    def architectures(self) -> Sequence[str]:
        """CPU architectures that the image is built for."""
        return self.cpu_architectures or (self.cpu_architecture,)


@dataclass(frozen=True)
class Project:
    """A CodeBuild project of a Build."""

    name: str
    arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    outputs: Sequence[str]
    """Artifacts that an action outputs that runs it."""


class Build(pulumi.ComponentResource):
    """A CodeBuild project that a pipeline starts, with its role and log group; for an image of several CPU
    architectures one for each, and one that makes an index of their images.

    `name` is the project's name; those for further architectures and for the index are `<name>-arm64` or
    `<name>-x86-64`, and `<name>-index`.
    https://docs.aws.amazon.com/codebuild/latest/userguide/create-project.html
    """

    project_name: str
    project_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    artifacts: ArtifactStore
    """Store for the artifacts of the build's pipeline."""
    exported_variables: tuple[str, ...]
    """Variables that later actions of a pipeline can read; none with your own buildspec."""

    def __init__(self, name: str, args: BuildArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the projects.

        Raises ValueError if `name` is not a valid project name.
        """
        check_name("build", name)
        check_args(args, BuildArgs)
        super().__init__("slipway:index:Build", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)

        self.artifacts = ArtifactStore(f"{name}-artifacts", opts=child)
        # For its Pipeline; not outputs.
        self.registry, self.container_name, self.full_clone = args.registry, args.container_name, args.full_clone
        self.by_architecture = {
            architecture: native_project(self, name, args, architecture, scope, child)
            for architecture in args.architectures
        }
        self.index = index_project(self, name, args, scope, child) if len(args.architectures) > 1 else None

        first = self.by_architecture[args.architectures[0]]
        self.project_name, self.project_arn, self.role_name = first.name, first.arn, first.role_name
        self.exported_variables = () if args.buildspec else EXPORTED
        self.register_outputs(
            {
                "project_name": name,
                "project_arn": self.project_arn,
                "role_name": self.role_name,
                "artifacts": self.artifacts,
                "exported_variables": list(self.exported_variables),
            }
        )

    def run_statements(self) -> list[Statement]:
        """Start and follow builds of these projects."""
        projects = [*self.by_architecture.values(), *([self.index] if self.index else [])]
        return [iam.run_builds(project.arn) for project in projects]


def native_project(
    build: Build, name: str, args: BuildArgs, architecture: str, scope: Scope, child: pulumi.ResourceOptions
) -> Project:
    """The project that builds the image for one CPU architecture, on a machine of that architecture."""
    variables, (first, *_) = environment(args), args.architectures
    outputs = of_the_build(args) if architecture == first else ()
    if architecture != first:
        suffix = architecture.lower().replace("_", "-")
        name, variables["CACHE_TAG"] = f"{name}-{suffix}", f"cache-{suffix}"
    environment_type, image = IMAGES[architecture]
    secrets = codebuild.in_this_region(build, "secrets", args.secrets)
    logins = codebuild.in_this_region(build, "registry_logins", args.registry_logins)
    own = filled(
        reports.groups(name, args.reports, scope),
        lambda arns: own_buildspec(
            signs_in(args),
            args.full_clone,
            outputs,
            args.sbom is not None,
            reports.by_group(arns, args.reports),
            with_paths=bool(args.writable_paths),
        ),
    )
    project, role = codebuild.project(
        name,
        role_name=f"{name}-build",
        description=f"Tests a commit, builds its image and pushes it to {args.registry.repository_name}",
        source=codebuild.source(True, args.buildspec or own),
        environment=aws.codebuild.ProjectEnvironmentArgs(
            type=environment_type,
            image=image,
            compute_type=args.compute_type,
            # Docker's daemon runs inside the build container.
            # https://docs.aws.amazon.com/codebuild/latest/userguide/sample-docker.html
            privileged_mode=True,
            environment_variables=[
                *codebuild.variables(variables),
                *codebuild.references(secret_variables(secrets) | login_variables(logins)),
            ],
        ),
        artifacts=build.artifacts,
        statements=[
            *build.artifacts.statements(),
            *args.registry.push_statements(),
            # An id of a secret may be a host, but has no slash.
            *secret_statements(secrets | {f"{host}/": arn for host, arn in logins.items()}, args.secrets_kms_key_arns),
            *pull_statements(args.pull_repositories),
            *(permission.statement() for permission in args.permissions),
        ],
        given_reports=args.reports,
        timeout_minutes=args.timeout_minutes,
        log_retention_days=args.log_retention_days,
        scope=scope,
        opts=child,
    )
    return Project(name, project.arn, role.name, outputs)


def index_project(build: Build, name: str, args: BuildArgs, scope: Scope, child: pulumi.ResourceOptions) -> Project:
    """The project that makes an index of images that are already in the registry. It reads no layers and runs nothing
    of the source."""
    environment_type, image = IMAGES["X86_64"]
    name = f"{name}-index"
    project, role = codebuild.project(
        name,
        role_name=f"{name}-build",
        description=f"Makes an index of the images of {args.registry.repository_name} for each CPU architecture",
        source=codebuild.source(True, index_buildspec()),
        environment=aws.codebuild.ProjectEnvironmentArgs(
            type=environment_type,
            image=image,
            compute_type="BUILD_GENERAL1_SMALL",
            environment_variables=codebuild.variables(
                {"REPOSITORY_URL": args.registry.url, "CONTAINER_NAME": args.container_name}
            ),
        ),
        artifacts=build.artifacts,
        statements=[*build.artifacts.statements(), *args.registry.index_statements()],
        timeout_minutes=args.timeout_minutes,
        log_retention_days=args.log_retention_days,
        scope=scope,
        opts=child,
    )
    return Project(name, project.arn, role.name, (BUILD_ARTIFACT,))


EXPORTED = ("IMAGE_URI", "IMAGE_DIGEST", "IMAGE_TAG")
BUILD_ARTIFACT, CHECKOUT_ARTIFACT = "BuildArtifact", "Checkout"
RESULT: dict[str, Any] = {"files": ["imagedefinitions.json"]}
CHECKOUT: dict[str, Any] = {"files": ["**/*"], "exclude-paths": [".git/**/*"], "enable-symlinks": "yes"}


def of_the_build(args: BuildArgs) -> Sequence[str]:
    """The artifacts of the first project. With an index, that names the image."""
    named = () if len(args.architectures) > 1 else (BUILD_ARTIFACT,)
    return (*named, CHECKOUT_ARTIFACT) if args.full_clone else named


def environment(args: BuildArgs) -> dict[str, pulumi.Input[str]]:
    """The variables that build.sh and registries.sh read, except the commit ID, which the pipeline passes to each
    build."""
    optional: dict[str, pulumi.Input[str]] = {
        "BUILD_SECRETS": " ".join(sorted(args.secrets)),
        "PULL_REGISTRIES": registries(args.pull_repositories),
        "REGISTRY_LOGINS": " ".join(sorted(args.registry_logins)),
        "DOCKER_HUB_MIRROR": args.docker_hub_mirror or "",
        "SBOM_GENERATOR": args.sbom.generator if args.sbom else "",
        "WRITABLE_PATHS": " ".join(args.writable_paths),
        "CONTAINER_USER": (args.container_user or "") if args.writable_paths else "",
    }
    return {
        "REPOSITORY_URL": args.registry.url,
        "CONTAINER_NAME": args.container_name,
        "CONTEXT": args.context,
        "DOCKERFILE": args.dockerfile,
        "TARGET": args.target or "",
        "TEST_COMMANDS": "\n".join(args.test_commands),
        "BUILD_ARGS": build_arguments(args),
        "BUILDER_IMAGE": args.builder_image,
        **{name: value for name, value in optional.items() if value},
    }


def secret_variables(secrets: Mapping[str, pulumi.Input[str]]) -> dict[str, pulumi.Input[str]]:
    """BUILD_SECRET_0 and so on, in the order of BUILD_SECRETS: an id may have characters that a variable may not."""
    return {f"BUILD_SECRET_{number}": arn for number, (_, arn) in enumerate(sorted(secrets.items()))}


def login_variables(logins: Mapping[str, pulumi.Input[str]]) -> dict[str, pulumi.Input[str]]:
    """REGISTRY_LOGIN_0_USERNAME and so on, in the order of REGISTRY_LOGINS."""
    return {
        f"REGISTRY_LOGIN_{number}_{key.upper()}": concat(arn, f":{key}::")
        for number, (_, arn) in enumerate(sorted(logins.items()))
        for key in ("username", "password")
    }


def registries(repositories: Sequence[pulumi.Input[str]]) -> pulumi.Input[str]:
    """The registries of these repositories, as `<region>/<host>`, separated by spaces."""

    def hosts(arns: Sequence[str]) -> str:
        return " ".join(sorted({registry(*arn.split(":")[1:5]) for arn in arns}))

    def registry(partition: str, _: str, region: str, account: str) -> str:
        return f"{region}/{partitions.host(partition, f'{account}.dkr.ecr', region)}"

    return filled(repositories, hosts)


def pull_statements(repositories: Sequence[pulumi.Input[str]]) -> list[Statement]:
    """Pull images of other repositories. Those of a pull-through cache are created, and filled, by the first pull.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-iam.html
    """
    if not repositories:
        return []
    caches = filled(repositories, lambda arns: [arn for arn in arns if arn.endswith("/*")])
    return [
        allow(*PULL, on=list(repositories)),
        allow("ecr:BatchImportUpstreamImage", "ecr:CreateRepository", on=caches),
    ]


def build_arguments(args: BuildSettings) -> pulumi.Input[str]:
    """`NAME=value`, one per line. Outputs must also fit once their values are known."""

    def lines(values: Mapping[str, str]) -> str:
        broken, message = too_long(args, values)
        if broken:
            raise pulumi.RunError(message)
        return "\n".join(f"{name}={value}" for name, value in sorted(values.items()))

    values: dict[str, Any] = plaintext_values("build_args", args.build_args, args.not_secret, INSTEAD)
    if any(is_output(value) for value in values.values()):
        return pulumi.Output.from_input(values).apply(lines)
    return lines(values)


def signs_in(args: BuildSettings) -> bool:
    """Whether a build needs registries.sh."""
    return bool(args.pull_repositories or args.registry_logins or args.docker_hub_mirror)


def own_buildspec(
    with_registries: bool = False,
    full_clone: bool = False,
    outputs: Sequence[str] = (BUILD_ARTIFACT,),
    with_sbom: bool = False,
    reported: Mapping[str, Report] = MappingProxyType({}),
    with_paths: bool = False,
) -> str:
    """The buildspec that runs build.sh, after registries.sh and before writable.sh and sbom.sh if asked for, as JSON,
    which is also YAML. The pipeline's variables are exported first. `reported` has the reports by the ARN of their
    group."""
    sign_in = [text_of("registries.sh")] if with_registries else []
    # After source.sh, for which a source with .git is a clone.
    untested = [reports.placeholders(list(reported.values()))] if reported else []
    before = [export_variables(), text_of("source.sh"), *untested, *sign_in]
    buildspec = running("build.sh", before, outputs)
    if with_paths:
        buildspec["phases"]["build"]["commands"] += in_a_shell_of_its_own("writable.sh")
    if with_sbom:
        buildspec["phases"]["build"]["commands"] += in_a_shell_of_its_own("sbom.sh")
    if full_clone:
        buildspec["env"]["git-credential-helper"] = "yes"
    if CHECKOUT_ARTIFACT in outputs:
        # What test commands have left would be in it.
        results = "--exclude=imagedefinitions.json --exclude=slipway.env"
        clean = f"git clean -ffdxq {results} && git submodule --quiet foreach --recursive git clean -ffdxq"
        keep = [reports.save(list(reported.values()))] if reported else []
        buildspec["phases"]["build"]["commands"] += [*keep, clean]
    return json.dumps({**buildspec, **reports.section(reported, saved=True)}, indent=1)


def index_buildspec() -> str:
    """The buildspec that runs index.sh."""
    return json.dumps(running("index.sh", [], (BUILD_ARTIFACT,)), indent=1)


def running(script: str, before: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
    """A buildspec that runs a script, which names the image and returns its results in a file."""
    # One that was committed by mistake would be taken for this build's: CodeBuild uploads it even after a failure.
    remove = "rm -f imagedefinitions.json slipway.env"
    return {
        "version": 0.2,
        "env": {"shell": "bash", "exported-variables": list(EXPORTED)},
        "phases": {
            "pre_build": {"commands": [remove, *before]},
            "build": {"commands": [*in_a_shell_of_its_own(script), "set -a; . ./slipway.env; set +a"]},
        },
        **artifacts(outputs),
    }


def in_a_shell_of_its_own(script: str) -> list[str]:
    """Commands that run a script so that its options do not affect CodeBuild's shell."""
    path = f'"${{TMPDIR:-/tmp}}/slipway-{script}"'
    return [f"cat >{path} <<'SLIPWAY_BUILD_SCRIPT'\n{text_of(script)}SLIPWAY_BUILD_SCRIPT", f"bash {path}"]


def artifacts(outputs: Sequence[str]) -> dict[str, Any]:
    """A buildspec's output artifacts. Several have the names that the action gives them. That with the files of the
    commit is for steps other than CodeBuild's, which cannot read a clone.

    https://docs.aws.amazon.com/codebuild/latest/userguide/sample-pipeline-multi-input-output.html
    """
    contents = {BUILD_ARTIFACT: RESULT, CHECKOUT_ARTIFACT: CHECKOUT}
    if not outputs:
        return {}
    if len(outputs) == 1:
        return {"artifacts": contents[outputs[0]]}
    return {"artifacts": {**RESULT, "secondary-artifacts": {name: contents[name] for name in outputs}}}


def export_variables() -> str:
    """The command that exports the pipeline's variables in CodeBuild's shell."""
    return text_of("variables.sh")


def text_of(script: str) -> str:
    return resources.files("slipway.build").joinpath(script).read_text()
