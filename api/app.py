"""The application: `create_app(settings)`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api import examples
from api.access import OPEN
from api.guard import Access, Guard
from api.problems import Problem, on_client_gone, on_http_error, on_invalid, on_problem
from api.routes import router
from api.schemas import ProblemDetails
from api.service import Service
from handler.store.record import NOTICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.settings import Settings
    from model_layer import Classifier

VERSION = "1"
PAGE = Path(__file__).with_name("page")
"""The page's files, where they are."""

_SCHEMA_OF_REFERENCE = "#/components/schemas/{model}"


def create_app(settings: Settings, *, classifier: Classifier | None = None, access: Access = OPEN) -> FastAPI:
    """The service over `settings`.

    `classifier` None: it is loaded in the background once the application starts. `access` decides who may use it: by
    default everybody who reaches it. A service with a store needs AWS's region and credentials, as boto3 finds them.
    """
    service = Service(settings, classifier)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="dermbatch",
        version=VERSION,
        description=f"Classifies images of skin lesions. {NOTICE}",
        lifespan=lifespan,
        docs_url=None,  # both load scripts from other hosts
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(router)
    if PAGE.is_dir():
        app.mount("/", StaticFiles(directory=PAGE, html=True))
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http_error(_methods()))
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ClientDisconnect, on_client_gone)
    app.add_middleware(Guard, access=access, upload_origin=service.upload_origin())
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def _methods() -> dict[str, set[str]]:
    methods: dict[str, set[str]] = {}
    for route in router.routes:
        if isinstance(route, APIRoute):
            methods.setdefault(route.path, set()).update(route.methods or ())
    return methods


def openapi(app: FastAPI) -> dict[str, Any]:
    """The application's description: as the framework makes it, with its own validation error as problem details."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            components.pop(unused, None)
        problem = ProblemDetails.model_json_schema(mode="serialization", ref_template=_SCHEMA_OF_REFERENCE)
        components |= {**problem.pop("$defs"), "ProblemDetails": problem}
        schema["components"]["schemas"] = dict(sorted(components.items()))
        for (path, method, status), example in examples.ANSWERS.items():  # the framework would drop their nulls
            schema["paths"][path][method]["responses"][status]["content"]["application/json"]["example"] = example
        app.openapi_schema = schema
    return app.openapi_schema
