"""The stand-in's endpoint: an HTTP server that AWS clients reach through AWS_ENDPOINT_URL.

`api.register("ecs", ecs)` serves a service: operation `UpdateService` is its method `update_service(params)`, which
takes and returns dicts in the API's own shape (times are epoch seconds) and raises `AwsError`. Both dicts are checked
against botocore's model, so a wrong key in a response of ours fails a test. Moto serves MOTO; all else is an error.
"""

import io
import json
import re
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from botocore import xform_name
from botocore.validate import ParamValidator
from moto.core.base_backend import BackendDict
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response

from standin.clock import Clock

Params = dict[str, Any]

ACCOUNT = "123456789012"  # also moto's default
REGION = "eu-west-1"
MOTO = ("ssm", "s3", "sts", "sns")
REST = ("lambda",)
"""Our services whose requests carry the operation in their method and path."""
NOT_HERE = "NotInTheStandIn"
SIGNED_AS = {"monitoring": "cloudwatch", "states": "stepfunctions"}
"""Services whose signing name differs from their name in botocore."""


def plain_copy(value: Any) -> Any:
    """A copy of an API's parameters or response; several times as fast as a general deep copy."""
    if isinstance(value, dict):
        return {key: plain_copy(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain_copy(each) for each in value]
    return value


class AwsError(Exception):
    def __init__(self, code: str, message: str, status: int = 400, **more: Any) -> None:
        """`more` holds further members of the error, as in botocore's model."""
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.more = code, message, status, more


@dataclass(frozen=True)
class Call:
    principal: str
    service: str
    operation: str
    params: Params
    time: float
    error: str | None


class Api:
    def __init__(self, clock: Clock) -> None:
        self.calls: list[Call] = []
        self._clock = clock
        self._services: dict[str, object] = {}
        self._principals: dict[str, str] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self.web: Callable[[str], tuple[int, str]] = lambda host: (404, "")
        """Responds to clients of load balancers, whose names resolve to this machine: status and text, by host name."""

    def register(self, service: str, handler: object) -> None:
        """Serve `service` (its name in botocore) by the methods of `handler`."""
        self._services[service] = handler

    def credentials_for(self, role_arn: str) -> dict[str, str]:
        """Environment variables with which a client uses this role."""
        key = f"ASIA{len(self._principals):016d}"
        self._principals[key] = role_arn
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}

    @property
    def url(self) -> str:
        assert self._server, "the API is not open: `with api:`"
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        BackendDict.reset()  # moto's state belongs to the process, not to this object
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_QuietHandler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        if ".localhost" in request.host:
            status, text = self.web(request.host.partition(".")[0])
            return Response(text, status)(environ, start_response)
        body = request.get_data()
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
        signed = re.search(r"Credential=(\w+)/\d+/[\w-]+/([\w-]+)/", request.headers.get("Authorization", ""))
        key, service = signed.groups() if signed else ("", "unsigned")
        service = SIGNED_AS.get(service, service)
        operation, params, error = "?", Params(), None
        try:
            operation, params = _request(service, request)
            response = self._answer(service, operation, params, environ, body)
            if response.status_code >= 400:  # responses of moto; ours are raised as exceptions
                found = re.search(r'"__type": ?"(?:.*#)?(\w+)|<Code>(\w+)', response.get_data(as_text=True))
                error = next(filter(None, found.groups())) if found else response.status
        except AwsError as problem:
            error = problem.code
            response = _json({"__type": error, "message": problem.message, **problem.more}, problem.status)
            response.headers["x-amzn-errortype"] = error
        self.calls.append(
            Call(self._principals.get(key, "unknown"), service, operation, params, self._clock.now(), error)
        )
        return response(environ, start_response)

    def _answer(self, service: str, operation: str, params: Params, environ: dict[str, Any], body: bytes) -> Response:
        method = getattr(self._services.get(service), xform_name(operation), None)
        if method:
            return _json(_call(service, operation, method, params))
        if service in self._services or service not in MOTO:
            raise AwsError(NOT_HERE, f"not in the stand-in: {service}:{operation}")
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return Response.from_app(self._moto, environ, buffered=True)


def _request(service: str, request: Request) -> tuple[str, Params]:
    """Operation and parameters, as AWS's protocols carry them."""
    if service in MOTO + REST:
        model = get_service_model(service)
        moto_operation, uri = get_service_router(service).match(request)
        parser = PROTOCOL_PARSERS[determine_request_protocol(model, request.content_type)](moto_operation)
        request_dict: Any = {"values": request.values, "headers": request.headers, "body": request.get_data()}
        request_dict |= {"method": request.method, "url_path": request.path, "url_params": uri}
        params = parser.parse(request_dict)
        return str(moto_operation.name), {name: value for name, value in params.items() if name != "Body"}
    # JSON 1.1: what botocore chooses where a service offers it (utils.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS), so
    # codepipeline, codebuild and cloudwatch, whose models name CBOR first, come as JSON too.
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2], json.loads(request.get_data() or b"{}")
    raise AwsError(NOT_HERE, f"not in the stand-in: {service}:{request.form.get('Action', request.path)}")


def _call(service: str, operation: str, method: Callable[[Params], Params], params: Params) -> Params:
    model = get_service_model(service).operation_model(operation)
    validator = ParamValidator()
    if model.input_shape and (problems := validator.validate(params, model.input_shape)).has_errors():
        raise AwsError("InvalidParameterException", problems.generate_report())
    try:
        answer = method(params)
    except AwsError:
        raise
    except Exception as error:  # a bug of ours: status 400, because clients would retry after a 500
        raise AwsError("StandInFault", traceback.format_exc()) from error
    if model.output_shape and (problems := validator.validate(answer, model.output_shape)).has_errors():
        raise AwsError("StandInFault", f"{service}:{operation} answers {problems.generate_report()}")
    return answer


def _json(body: Params, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/x-amz-json-1.1")


class _QuietHandler(MotoRequestHandler):
    def log(self, *_: object) -> None:  # the calls are recorded, not printed
        pass
