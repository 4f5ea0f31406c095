"""What every component promises, for all of them."""

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
from unit.examples import CHECKED, EXAMPLES
from unit.harness import Recording, Resource, deploy, run
from unit.names import misfits

Component = type[pulumi.ComponentResource]
every_component = pytest.mark.parametrize("component", EXAMPLES, ids=lambda component: component.__name__)
RECORDED: dict[Component, Recording] = {}
PLACE = {
    "aws:index/getPartition:getPartition",
    "aws:index/getRegion:getRegion",
    "aws:index/getCallerIdentity:getCallerIdentity",
}
NOT_EXPORTED = {
    # What a part of a stack file can say; its Args are what a program says.
    "BuildSettings",
    "LoadBalancerSettings",
    "ServiceSettings",
    # Its Service makes it.
    "ReleaseFunctionArgs",
    # What statements are made of; `slipway.iam` is imported as a module.
    "Place",
    "Statement",
}


def record(program: Callable[[], Any]) -> Recording:
    return run(program, {}, [], "dev")


def mine(recording: Recording) -> list[Resource]:
    """The component and what it made: all but the stack, and what the example needs around it."""
    return [r for r in recording.registered() if r.type != "pulumi:pulumi:Stack" and not is_given(recording, r)]


def is_given(recording: Recording, resource: Resource) -> bool:
    if resource.name.startswith("given"):
        return True
    above = recording.recorded.get(resource.parent_urn)
    return above is not None and above.type.startswith("slipway:") and is_given(recording, above)


def token(component: Component) -> str:
    return f"slipway:index:{component.__name__}"


def example(component: Component) -> Recording:
    """The component, called `app`, protected, with a provider of its own, and its attributes exported: once."""

    def program() -> None:
        opts = pulumi.ResourceOptions(protect=True, provider=aws.Provider("given-provider", region="us-east-1"))
        made = EXAMPLES[component]("app", opts=opts)
        pulumi.export("it", {name: getattr(made, name) for name in inspect.get_annotations(component)})

    if component not in RECORDED:
        RECORDED[component] = record(program)
    return RECORDED[component]


def top_of(component: Component) -> Resource:
    return example(component).recorded[f"urn:pulumi:dev::storefront::{token(component)}::app"]


def test_every_component_that_is_exported_has_an_example() -> None:
    exported = [getattr(slipway, name) for name in slipway.__all__]
    components = {e for e in exported if isinstance(e, type) and issubclass(e, pulumi.ComponentResource)}
    assert set(EXAMPLES) == components


@every_component
def test_the_token_is_the_distribution_and_the_class(component: Component) -> None:
    tops = [r for r in mine(example(component)) if r.parent == "pulumi:pulumi:Stack"]
    assert [(r.type, r.name) for r in tops] == [(token(component), "app")]


@every_component
def test_children_carry_the_name_and_the_parent_of(component: Component) -> None:
    recording = example(component)
    [top] = [r for r in mine(recording) if r.name == "app" and r.type == token(component)]
    children = [r for r in mine(recording) if r is not top]
    assert len(children) > 0
    assert [r.name for r in children if r.name != "app" and not r.name.startswith("app-")] == []
    parents = {r.name: recording.recorded[r.parent_urn] for r in children}
    assert [name for name, parent in parents.items() if parent is not top and parent.parent_urn != top.urn] == []
    # A parent other than the component is a component of its own, never a resource.
    assert {parent.type.split(":")[0] for parent in parents.values()} == {"slipway"}
    assert [r.name for r in children if not r.name.startswith(parents[r.name].name)] == []


@every_component
def test_outputs_are_all_that_is_annotated_and_nothing_else(component: Component) -> None:
    outputs = top_of(component).outputs
    assert outputs.keys() == inspect.get_annotations(component).keys()
    assert [name for name, value in outputs.items() if value is None] == []


@every_component
def test_outputs_are_what_the_attributes_are(component: Component) -> None:
    [stack] = [r for r in example(component).registered() if r.type == "pulumi:pulumi:Stack"]
    outputs = top_of(component).outputs
    exported = {name: stack.outputs["it"][name] for name in outputs}
    components = {name for name, value in outputs.items() if str(value).startswith("urn:")}
    for name in components:  # a component is exported with all that is in it
        exported[name] = outputs[name]
    assert exported == outputs


@every_component
def test_protection_reaches_all_children_of(component: Component) -> None:
    assert [r.name for r in mine(example(component)) if not r.protect] == []


@every_component
def test_a_provider_reaches_all_children_and_questions_of(component: Component) -> None:
    urn = "urn:pulumi:dev::storefront::pulumi:providers:aws::given-provider"
    children = [r for r in mine(example(component)) if r.type.startswith("aws:")]
    assert {r.provider.rpartition("::")[0] for r in children} == {urn}
    asked = {function for function, provider in example(component).calls if provider.startswith(urn)}
    assert asked == (set() if component in (slipway.LoadBalancer, slipway.Registry) else PLACE)


@every_component
def test_two_of_a_kind_stand_side_by_side(component: Component) -> None:
    def program() -> None:
        EXAMPLES[component]("one")
        EXAMPLES[component]("two")

    # The recording refuses a second registration of a URN; what AWS itself calls things must differ too.
    named = [(r.type, r.inputs[key]) for r in mine(record(program)) for key in ("name", "family") if key in r.inputs]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("component", CHECKED, ids=lambda component: component.__name__)
@pytest.mark.parametrize("form", ["a", "A_", "a.a@"])
def test_a_name_that_is_accepted_fits_everything_that_is_named_after_it(component: Any, form: str) -> None:
    def program() -> None:
        args = CHECKED[component]("short")
        for length in range(260, 1, -1):
            name = (form * length)[: length - 1] + form[0]
            try:
                component(name, args)
            except ValueError:
                continue
            return

    assert misfits([r for r in deploy(program) if not r.name.startswith("given")]) == []


@every_component
def test_every_component_has_a_docstring_and_so_has_what_it_takes(component: Component) -> None:
    module = sys.modules[component.__module__]
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    # A dataclass without a docstring gets its signature for one.
    assert [c.__name__ for c in classes if not c.__doc__ or c.__doc__.startswith(f"{c.__name__}(")] == []


def test_all_that_is_public_is_exported_and_nothing_else() -> None:
    public: set[str] = set()
    for module in pkgutil.iter_modules(slipway.__path__):
        if not module.name.startswith("_") and module.name not in ("runtime", "settings"):
            members = vars(importlib.import_module(f"slipway.{module.name}"))
            public |= {
                name
                for name, member in members.items()
                if inspect.isclass(member) and (member.__module__, member.__name__) == (f"slipway.{module.name}", name)
            }
    assert sorted(public - NOT_EXPORTED) == slipway.__all__
    assert public >= NOT_EXPORTED
    assert [name for name in slipway.__all__ if not hasattr(slipway, name)] == []


def imported_by(program: str, *modules: str) -> str:
    names = f"print(sorted(set({list(modules)}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", f"import sys\n{program}\n{names}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_components_need_neither_awsx_nor_what_reads_stack_files() -> None:
    assert imported_by("import slipway", "pulumi_awsx", "pydantic", "boto3") == "[]"
