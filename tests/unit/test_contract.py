"""What every component guarantees, tested for all of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
import slipway
from unit.examples import CHECKED, EXAMPLES, VARIANTS
from unit.harness import Recorder, Resource, deploy, run
from unit.names import misfits

Component = type[pulumi.ComponentResource]
FORMS: dict[str, tuple[Component, Callable[..., pulumi.ComponentResource]]] = {
    **{component.__name__: (component, factory) for component, factory in EXAMPLES.items()},
    **{f"{component.__name__} {form}": (component, factory) for component, form, factory in VARIANTS},
}
every_form = pytest.mark.parametrize("form", FORMS)
every_component = pytest.mark.parametrize("component", EXAMPLES, ids=lambda component: component.__name__)
RECORDED: dict[str, Recorder] = {}
PLACE = {
    "aws:index/getPartition:getPartition",
    "aws:index/getRegion:getRegion",
    "aws:index/getCallerIdentity:getCallerIdentity",
}
NOT_EXPORTED = {
    # Keys of a stack file; their Args are what a program passes.
    "BuildSettings",
    "CommandSettings",
    "LoadBalancerSettings",
    "PipelineSettings",
    "PullRequestSettings",
    "ServiceSettings",
    # How CodeBuild names a repository provider.
    "Provider",
    # What a Service consists of, for its parts and its ReleaseFunction.
    "FileSystems",
    "ProcessResources",
    # What a LoadBalancer and an ExistingLoadBalancer have in common.
    "ListenerRules",
    "ReleasedProcess",
    "ReleasedTask",
    "RolloutTimers",
    "Shared",
    # What a Build consists of, for its Pipeline.
    "Project",
    # Where a component is deployed, which it looks up itself.
    "Scope",
}


def record(program: Callable[[], Any]) -> Recorder:
    return run(program, {}, [], "dev")


def mine(recording: Recorder) -> list[Resource]:
    """The component and its resources: all but the stack and the resources that the example needs."""
    return [r for r in recording.registered() if r.type != "pulumi:pulumi:Stack" and not is_given(recording, r)]


def is_given(recording: Recorder, resource: Resource) -> bool:
    if resource.name.startswith("given"):
        return True
    above = recording.recorded.get(resource.parent_urn)
    return above is not None and above.type.startswith("slipway:") and is_given(recording, above)


def token(component: Component) -> str:
    return f"slipway:index:{component.__name__}"


def example(form: str) -> Recorder:
    """The component, called `app`, protected, with its own provider, and its attributes exported: once."""
    component, factory = FORMS[form]

    def program() -> None:
        opts = pulumi.ResourceOptions(protect=True, provider=aws.Provider("given-provider", region="us-east-1"))
        made = factory("app", opts=opts)
        pulumi.export("it", {name: getattr(made, name) for name in inspect.get_annotations(component)})
        pulumi.export("none", [name for name in inspect.get_annotations(component) if getattr(made, name) is None])

    if form not in RECORDED:
        RECORDED[form] = record(program)
    return RECORDED[form]


def stack_of(form: str) -> Resource:
    [stack] = [r for r in example(form).registered() if r.type == "pulumi:pulumi:Stack"]
    return stack


def top_of(form: str) -> Resource:
    return example(form).recorded[f"urn:pulumi:dev::storefront::{token(FORMS[form][0])}::app"]


def test_every_exported_component_has_an_example() -> None:
    exported = [getattr(slipway, name) for name in slipway.__all__]
    components = {e for e in exported if isinstance(e, type) and issubclass(e, pulumi.ComponentResource)}
    assert set(EXAMPLES) == components
    # The resources of another stack are looked up; nothing is created.
    assert not issubclass(slipway.ExistingRegistry, pulumi.ComponentResource)


@every_form
def test_the_type_token_is_the_distribution_and_the_class(form: str) -> None:
    tops = [r for r in mine(example(form)) if r.parent == "pulumi:pulumi:Stack"]
    assert [(r.type, r.name) for r in tops] == [(token(FORMS[form][0]), "app")]


@every_form
def test_children_have_the_name_and_the_parent_of(form: str) -> None:
    recording, top = example(form), top_of(form)
    children = [r for r in mine(recording) if r is not top]
    assert len(children) > 0
    assert [r.name for r in children if r.name != "app" and not r.name.startswith("app-")] == []
    # A parent is a component, never a resource, and the component itself is above all of them.
    assert {recording.recorded[r.parent_urn].type.split(":")[0] for r in children} == {"slipway"}
    assert [r.urn for r in children if top not in above(recording, r)] == []
    assert [r.name for r in children if not r.name.startswith(recording.recorded[r.parent_urn].name)] == []


def above(recording: Recorder, resource: Resource) -> list[Resource]:
    parents = []
    while parent := recording.recorded.get(resource.parent_urn):
        parents.append(parent)
        resource = parent
    return parents


@every_form
def test_outputs_are_all_annotated_attributes_and_nothing_else(form: str) -> None:
    """An optional output is None where it does not apply; the engine omits it, and its annotation says so."""
    annotations, outputs = inspect.get_annotations(FORMS[form][0]), top_of(form).outputs
    absent = stack_of(form).outputs.get("none", [])
    assert outputs.keys() == annotations.keys() - set(absent)
    assert [name for name in absent if not annotations[name].endswith(" | None")] == []
    assert [name for name, value in outputs.items() if value is None] == []


@every_component
def test_every_output_is_set_in_some_form_and_every_optional_one_is_none_in_another(component: Component) -> None:
    forms = [form for form, (kind, _) in FORMS.items() if kind is component]
    annotations = inspect.get_annotations(component)
    optional = {name for name, hint in annotations.items() if hint.endswith(" | None")}
    assert {name for form in forms for name in top_of(form).outputs} == annotations.keys()
    assert {name for form in forms for name in stack_of(form).outputs.get("none", [])} == optional


@every_form
def test_outputs_are_equal_to_the_attributes(form: str) -> None:
    outputs = top_of(form).outputs
    exported = {name: stack_of(form).outputs["it"][name] for name in outputs}
    components = {name for name, value in outputs.items() if str(value).startswith("urn:")}
    for name in components:  # a component is exported with everything in it
        exported[name] = outputs[name]
    assert exported == outputs


REPLACED_BY_DESIGN = {"aws:ecs/taskDefinition:TaskDefinition", "aws:lambda/invocation:Invocation"}
"""What every change of settings replaces."""


@every_form
def test_protection_applies_to_all_children_except_those_replaced_by_design_of(form: str) -> None:
    children = mine(example(form))
    assert {r.name for r in children if not r.protect} == {r.name for r in children if r.type in REPLACED_BY_DESIGN}


@every_form
def test_a_provider_applies_to_all_children_and_function_calls_of(form: str) -> None:
    urn = "urn:pulumi:dev::storefront::pulumi:providers:aws::given-provider"
    children = [r for r in mine(example(form)) if r.type.startswith("aws:")]
    assert {r.provider.rpartition("::")[0] for r in children} == {urn}
    called = {function for function, provider in example(form).calls if provider.startswith(urn)}
    asks_else: dict[Component, set[str]] = {
        slipway.LoadBalancer: set(),
        slipway.Registry: {"aws:ecr/getRepository:getRepository"},
        slipway.ScanGateFunction: set(),
    }
    assert called == asks_else.get(FORMS[form][0], PLACE)


@every_form
def test_two_instances_can_coexist(form: str) -> None:
    def program() -> None:
        FORMS[form][1]("one")
        FORMS[form][1]("two")

    # The recording rejects a second registration of a URN; physical names must differ too.
    keys = ("name", "family", "configurationName")
    named = [(r.type, r.inputs[key]) for r in mine(record(program)) for key in keys if key in r.inputs]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(("component", "args"), CHECKED, ids=[f"{c.__name__}-{a.__name__}" for c, a in CHECKED])
@pytest.mark.parametrize("form", ["a", "A_", "a.a@"])
def test_an_accepted_name_fits_everything_that_is_named_after_it(component: Any, args: Any, form: str) -> None:
    def program() -> None:
        overrides = args("short")
        for length in range(260, 1, -1):
            name = (form * length)[: length - 1] + form[0]
            try:
                component(name, overrides)
            except ValueError:
                continue
            return

    assert misfits([r for r in deploy(program) if not r.name.startswith("given")]) == []


@pytest.mark.parametrize("component", [c for c in EXAMPLES if c is not slipway.ArtifactStore], ids=lambda c: c.__name__)
@pytest.mark.parametrize("args", [{"port": 80}, 5, slipway.Rolling(), slipway.ServiceArgs], ids=lambda args: str(args))
def test_what_is_no_arguments_of_a_component_is_named(component: Any, args: Any) -> None:
    with pytest.raises(ValueError, match=rf"^args must be an? {component.__name__}Args, got (a map|5|Rolling|<class)"):
        deploy(lambda: component("shop", args))


@pytest.mark.parametrize(("component", "args"), CHECKED, ids=[f"{c.__name__}-{a.__name__}" for c, a in CHECKED])
def test_what_is_no_name_of_a_component_is_refused(component: Any, args: Any) -> None:
    def program() -> None:
        overrides = args("short")
        for name in (None, 5, "", "a b", "Shop", "shop\n", "sh\u00f6p", "s" * 300):
            with pytest.raises(ValueError, match=r"^a [\w ]+'s name must be [23] to \d+ characters of a-z"):
                component(name, overrides)

    deploy(program)


@every_component
def test_every_component_and_its_arguments_have_a_docstring(component: Component) -> None:
    module = sys.modules[component.__module__]
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    # A dataclass without a docstring gets its signature as one.
    assert [c.__name__ for c in classes if not c.__doc__ or c.__doc__.startswith(f"{c.__name__}(")] == []


INTERNAL = {
    *("config", "function", "lambda_function", "actions", "deployment", "jobs", "scaling", "task_definition"),
    *("traffic", "testing"),
}
"""Modules whose classes are internal, or not for programs."""


def test_everything_public_is_exported_and_nothing_else() -> None:
    public: set[str] = set()
    for module in pkgutil.walk_packages(slipway.__path__, "slipway."):
        if any(part.startswith("_") or part in INTERNAL for part in module.name.split(".")):
            continue
        for name, member in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(member) and (member.__module__, member.__name__) == (module.name, name):
                public.add(name)
    assert sorted({*public - NOT_EXPORTED, "__version__", "allow"}) == slipway.__all__
    assert public >= NOT_EXPORTED
    assert [name for name in slipway.__all__ if not hasattr(slipway, name)] == []


def imported_by(program: str, *modules: str) -> str:
    names = f"print(sorted(set({list(modules)}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", f"import sys\n{program}\n{names}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_components_need_neither_awsx_nor_the_modules_for_stack_files() -> None:
    assert imported_by("import slipway", "pulumi_awsx", "slipway.config", "boto3") == "[]"
