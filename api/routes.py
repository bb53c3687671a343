"""The endpoints. What is slow runs in threads, of which there are few, behind a line of bounded length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from api import examples, schemas
from api.bodies import read_form, read_image
from api.problems import MEDIA_TYPE, Problem
from api.schemas import Filters, Image
from handler.store.record import NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.service import Service

router = APIRouter()
T = TypeVar("T")

ImageQuery = Annotated[Image, Query(description="`<bucket>/<key>`.", examples=[examples.IMAGE])]
_ANY_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_PNG = {"image/png": _ANY_IMAGE}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's responses for these statuses, and for those that any endpoint may give."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    responses: dict[int | str, dict[str, Any]] = {}
    for status in (*statuses, 401, 403, 421, 500):
        text, example = examples.PROBLEMS[status]
        content = {MEDIA_TYPE: {"schema": schema, **({"example": example} if example else {})}}
        responses[status] = {"description": text, "content": content}
        if status == 503:
            seconds = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait.", "required": True}
            responses[status]["headers"] = {"Retry-After": seconds}
    return responses


def _answer(model: type[Any], description: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "description": description, "content": more}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "properties": schema, "required": list(schema)}}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.post(
    "/v1/classify",
    summary="Classifies one image, here and now",
    response_class=Response,
    responses={
        200: _answer(schemas.Record, "The record, or with `Accept: image/png` the heat map over the image.", **_PNG),
        **_problems(400, 408, 413, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file itself, under any content type, or as the one file of a form.",
            "content": {
                "application/octet-stream": _ANY_IMAGE,
                "image/*": _ANY_IMAGE,
                "multipart/form-data": _form({"file": {"type": "string", "format": "binary"}}),
            },
        }
    },
)
async def classify(request: Request) -> Response:
    """Nothing of the image is kept. A file that cannot be classified is 422, with the code and the sentence that its
    record would have. When every place is taken, the answer is 503 with Retry-After, before the file is read.
    """
    service = _service(request)
    _ = service.classifier  # while there is none, no body is read
    with service.line.place():
        content = await read_image(request, service.settings.max_image_bytes, _too_large(service))
        request_id: str = request.state.request_id

        def work() -> tuple[dict[str, Any], bytes | None]:
            record = service.classify(content, request_id)
            drawn = record["heatmap"] and _wants_picture(request)
            return record, service.overlay(content, record["heatmap"]) if drawn else None

        record, picture = await service.line.run(work, request)
    if record["status"] == "rejected":
        (reason,) = record["reasons"]
        raise Problem(422, reason["code"], reason["sentence"], record=record)
    if picture is not None:
        return Response(picture, media_type="image/png")
    return JSONResponse(record)


@router.post(
    "/v1/uploads",
    summary="Says where to put a file",
    status_code=201,
    responses={201: _answer(schemas.Upload, "A place for one file."), **_problems(501, 503)},
)
async def create_upload(request: Request) -> schemas.Upload:
    """Send a form of `fields` and then the part `file` to `url`. The bucket takes one file of any content type, of at
    most `max_bytes`, until `expires_at`. Then ask `/v1/prediction` for `image`.
    """
    service = _service(request)
    place = await _asked(request, service.records.place)
    most = service.settings.max_image_bytes if service.settings.relay else service.settings.worker.max_image_bytes
    return schemas.Upload(
        image=place.image, url=place.url, fields=place.fields, max_bytes=most, expires_at=place.expires_at
    )


@router.post(
    "/v1/uploads/relay",
    summary="Takes a file on its way to the bucket",
    status_code=201,
    responses={
        201: _answer(schemas.Stored, "The bucket has the file."),
        **_problems(400, 408, 413, 415, 501, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": _form(
                    {"ticket": {"type": "string"}, "file": {"type": "string", "format": "binary"}}
                )
            },
        }
    },
)
async def relay_upload(request: Request) -> schemas.Stored:
    """Only where `/v1/uploads` says so, as `dermbatch serve` does: for a page that may talk to no other host."""
    service = _service(request)
    records = service.records
    if not service.settings.relay:
        raise Problem(403, "wrong_ticket", "Uploads go straight to the bucket here; ask /v1/uploads for a place.")
    with service.relaying.place():
        form = await read_form(request, service.settings.max_image_bytes, _too_large(service))
        content = form.file
        if content is None or "ticket" not in form.fields:
            raise Problem(400, "malformed_body", "The form must hold the field `ticket` and one file.")
        image = await service.relaying.run(lambda: records.relay(form.fields["ticket"], content), request)
    return schemas.Stored(image=image)


@router.get(
    "/v1/predictions",
    summary="Lists predictions",
    responses={200: _answer(schemas.Predictions, "One page."), **_problems(422, 501, 503)},
)
async def list_predictions(request: Request, filters: Annotated[Filters, Query()]) -> schemas.Predictions:
    """The most confident first; for a status other than `classified` and no further filter but days, the latest first.
    A page may be shorter than `limit` and still have a `next`.
    """
    records = _service(request).records
    entries, cursor = await _asked(request, lambda: records.page(filters))
    return schemas.Predictions(predictions=[schemas.Entry(**entry) for entry in entries], next=cursor)


@router.get(
    "/v1/prediction",
    summary="Gives what is known of one image",
    responses={200: _answer(schemas.History, "Its records."), **_problems(404, 422, 501, 503)},
    response_class=JSONResponse,
)
async def get_prediction(request: Request, image: ImageQuery) -> Response:
    """Every version of the image under every model. The current record of each version comes first, the latest of them
    at the top; records of models that another has replaced follow. 404 with the code `no_record` until the first.
    """
    records = _service(request).records
    found = await _asked(request, lambda: records.history(image))
    return JSONResponse({"image": image, "records": found, "notice": NOTICE})


@router.delete(
    "/v1/prediction",
    summary="Erases one image",
    status_code=202,
    responses={202: _answer(schemas.Erased, "It is gone."), **_problems(404, 422, 501, 503)},
)
async def erase_image(request: Request, image: ImageQuery) -> schemas.Erased:
    """Deletes every version of the object from the bucket, for good, and every record of it. What a worker is writing
    at this moment is erased when it is written.
    """
    records = _service(request).records
    versions, erased = await _asked(request, lambda: records.erase(image))
    return schemas.Erased(image=image, versions=versions, records=erased)


@router.get(
    "/v1/preview",
    summary="Draws one stored image small",
    response_class=Response,
    responses={200: {"description": "The centre square.", "content": _PNG}, **_problems(404, 422, 501, 503)},
)
async def preview(
    request: Request,
    image: ImageQuery,
    side: Annotated[int, Query(ge=32, le=512, description="Width and height of the picture, in pixels.")] = 256,
) -> Response:
    """A PNG of every format that is classified, also of HEIC and TIFF, which browsers cannot show."""
    service = _service(request)
    records = service.records
    with service.line.place():
        content = await run_in_threadpool(records.fetch, image)
        picture = await service.line.run(lambda: service.preview(content, side), request)
    return Response(picture, media_type="image/png")


@router.get(
    "/v1/model",
    summary="Describes the model",
    responses={200: _answer(schemas.Model, "The model that answers here."), **_problems(503)},
)
async def describe_model(request: Request) -> schemas.Model:
    """Its labels, and the limits of what it takes."""
    service = _service(request)
    bundle = service.classifier.bundle
    return schemas.Model(
        name=bundle.name,
        version=bundle.version,
        digest=bundle.digest,
        labels=[schemas.Label(code=label.code, name=label.name, malignant=label.malignant) for label in bundle.labels],
        input_size=bundle.input_size,
        kinds=list(bundle.kinds),
        max_image_bytes=service.settings.max_image_bytes,
        max_image_pixels=service.settings.worker.max_image_pixels,
    )


@router.get("/healthz", summary="Says that the process lives", responses=_problems())
async def healthz() -> schemas.Health:
    """Also while the model is being loaded."""
    return schemas.Health(status="alive")


@router.get("/readyz", summary="Says whether images can be classified", responses=_problems(503))
async def readyz(request: Request) -> schemas.Health:
    """Once the model has answered for a first image."""
    _ = _service(request).classifier
    return schemas.Health(status="ready")


async def _asked(request: Request, work: Callable[[], T]) -> T:
    """`work()` of the store, in a thread; 503 where too many wait for one."""
    service = _service(request)
    with service.asking.place():
        return await service.asking.run(work, request)


def _too_large(service: Service) -> str:
    most = service.settings.max_image_bytes
    if most == service.settings.worker.max_image_bytes:
        return f"The file is larger than {most} bytes; save it at a higher compression."
    return f"More than {most} bytes cannot be sent here; POST /v1/uploads says where a larger file can be put."


def _wants_picture(request: Request) -> bool:
    """Whether `Accept` names image/png, and JSON no less."""
    weights = {"image/png": 0.0, "application/json": 0.0}
    for part in request.headers.get("accept", "").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        if name in weights:
            weights[name] = float(quality) if quality.replace(".", "", 1).isdecimal() else 1.0
    return weights["image/png"] > weights["application/json"]
