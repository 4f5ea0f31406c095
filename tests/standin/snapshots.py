"""Saves the state of an account and restores it, so that several tests can start from one deployed stack.

The state of the stand-in's objects is pickled. The objects themselves stay, as do their locks, servers and clients,
because deployed resources refer to their ports. A hook or method that was replaced since then is restored.
"""

import io
import pickle
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from tempfile import TemporaryDirectory
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType
from typing import Any

from botocore.client import BaseClient
from moto.backends import get_backend
from moto.core.base_backend import BackendDict, BaseBackend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.models import s3_backends
from werkzeug.serving import BaseWSGIServer

from standin.workspace import Workspace

NOT_RESTORABLE = "tests of restored accounts: the image registry runs in a container, which cannot be restored"
"""Why tests are skipped where a container engine runs the registry; its images are in no folder."""

Scope = tuple[str, str, str]
"""Of one of moto's backends, which are created anew after each reset: service, account, Region."""

KEPT: tuple[type, ...] = (
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    ExitStack,
    io.TextIOWrapper,
    threading.Condition,
)
KEPT += (Workspace, TemporaryDirectory, type(threading.Lock()), type(threading.RLock()))
KEPT += (BaseClient, BaseWSGIServer, DomainDispatcherApplication)


class Unsettled(Exception):
    """Something is in progress that cannot be saved, such as the deployment of a service."""


@dataclass(frozen=True)
class Objects:
    """The state of some objects."""

    text: bytes
    kept: tuple[Any, ...]
    """What `text` refers to by its number only."""

    def same(self, other: "Objects") -> bool:
        pairs = zip(self.kept, other.kept, strict=False)
        return self.text == other.text and len(self.kept) == len(other.kept) and all(a is b for a, b in pairs)


def objects(parts: Iterable[object]) -> Objects:
    """The current state of these objects, and of moto. Raises Unsettled."""
    listed = list(parts)
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, listed)
    moto = [(place, vars(backend)) for place, backend in _backends()]
    pickler.dump(([vars(part) for part in listed], moto, s3_backends.bucket_accounts))
    return Objects(buffer.getvalue(), tuple(pickler.kept))


def restore(parts: Iterable[object], state: Objects) -> None:
    """Restores the state of these objects, which must be the same ones, and removes everything else."""
    BackendDict.reset()
    held, moto, buckets = _Unpickler(io.BytesIO(state.text), state.kept).load()
    for part, attributes in zip(parts, held, strict=True):
        _hold(part, attributes)
    for place, attributes in moto:
        _hold(_backend(place), attributes)
    s3_backends.bucket_accounts = buckets


def _hold(part: object, attributes: dict[str, Any]) -> None:
    vars(part).clear()
    vars(part).update(attributes)


def _backends() -> list[tuple[Scope, BaseBackend]]:
    kind: Any = BackendDict
    services: list[BackendDict[Any]] = list(kind._instances)
    return [
        ((service.service_name, account, region), backend)
        for service in services
        for account, region, backend in list(service.iter_backends())
    ]


def _backend(place: Scope) -> BaseBackend:
    service, account, region = place
    known: Any = get_backend  # which names each service in its type
    backend: BaseBackend = known(service)[account][region]
    return backend


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, parts: list[object]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.kept: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._parts = {id(part) for part in parts}
        self._places = {id(backend): place for place, backend in _backends()}

    def persistent_id(self, obj: Any) -> int | Scope | None:
        if id(obj) in self._places:
            return self._places[id(obj)]
        if id(obj) not in self._parts and not isinstance(obj, KEPT):
            if not isinstance(obj, GeneratorType):
                return None
            if obj.gi_frame is not None:
                raise Unsettled(f"{obj.__qualname__} has not ended")
        if id(obj) not in self._numbers:
            self._numbers[id(obj)] = len(self.kept)
            self.kept.append(obj)
        return self._numbers[id(obj)]

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, count):  # Python itself will stop supporting it
            return count, (int(repr(obj).strip("count()")),)
        # As for all other objects, because their own method drops their attributes.
        if isinstance(obj, defaultdict) and type(obj) is not defaultdict:
            made = type(obj), obj.default_factory
            return _defaultdict, made, vars(obj), None, iter(obj.items())
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, kept: tuple[Any, ...]) -> None:
        super().__init__(file)
        self._kept = kept

    def persistent_load(self, id: int | Scope) -> Any:
        return self._kept[id] if isinstance(id, int) else _backend(id)


def _defaultdict(kind: type[defaultdict[Any, Any]], factory: Callable[[], Any] | None) -> Any:
    made: Any = defaultdict.__new__(kind)
    made.default_factory = factory
    return made
