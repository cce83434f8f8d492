"""The receiver's HTTP face: `uvicorn webhook.app:app`, one process for the environments in POINTSMAN_ENVIRONMENT.

Stateless: the flow run's idempotency key, kept by Prefect, alone tells a new delivery from a repeated one.
"""

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from prefect.settings import get_current_settings
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blocks.environment import LEAST_SECRET, ReleaseEnvironment, load_environment, read_settings
from core.errors import Permanent, PointsmanError, Refused, Transient
from core.github_event import Decision, Ignore, Pong, Reject, Release, Wanted, decide
from webhook.delivery import SIGNATURE, Intake, is_signed
from webhook.runs import RunCreator, open_prefect_runs
from webhook.settings import ReceiverSettings

log = logging.getLogger("pointsman.webhook")

_GUESSED = f"it is shorter than {LEAST_SECRET} characters, so it could be guessed"
_DELIVERY_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True)
class Served:
    """One environment that a receiver serves; `secrets` are those that GitHub may sign with for it."""

    environment: str
    wanted: Wanted
    secrets: tuple[bytes, ...]
    runs: RunCreator


@dataclass(frozen=True)
class Receiver:
    """All that one receiver needs to know."""

    served: tuple[Served, ...]
    intake: Intake

    @property
    def environments(self) -> str:
        """The names of those that it serves."""
        return ", ".join(one.environment for one in self.served)


class Answer(BaseModel):
    """The body of every answer: what became of the delivery, and for a release its run and the run's page."""

    status: Literal["accepted", "ignored", "pong", "rejected", "failed"]
    detail: str
    flow_run_id: UUID | None = None
    url: str | None = None


class Health(BaseModel):
    """The receiver runs; for what is nobody's business who may ask."""

    status: Literal["ok"] = "ok"


@asynccontextmanager
async def open_receiver() -> AsyncIterator[Receiver]:
    """The receiver as the process environment, the environment's file and its secrets describe it.

    Raises `Refused` with one sentence. Prefect is asked nothing where the secrets come from a file.
    """
    settings = _read_settings()
    if not get_current_settings().api.url:
        raise Refused("PREFECT_API_URL is not set", do="Set it to the address of Prefect's API, which ends in /api.")
    async with AsyncExitStack() as stack:
        served = [await _serve(stage, settings, stack) for stage in settings.environments]
        yield Receiver(tuple(served), Intake(settings.max_body_bytes, settings.body_seconds, settings.max_bodies))


async def _serve(stage: str, settings: ReceiverSettings, stack: AsyncExitStack) -> Served:
    declared = read_settings(stage)
    if settings.secrets_file is not None:
        secrets = read_secrets(settings.secrets_file)
    else:
        secrets = accepted_secrets(await asyncio.to_thread(_load, stage))
    source = declared.source
    runs = await stack.enter_async_context(
        open_prefect_runs(stage, source.github_repository, deadline_seconds=settings.answer_seconds)
    )
    return Served(stage, Wanted(source.github_repository, source.tags, declared.prereleases), secrets, runs)


def accepted_secrets(environment: ReleaseEnvironment) -> tuple[bytes, ...]:
    """Return the secrets that a delivery may be signed with: the present one, and the one before if it is kept.

    Raises `Refused` for one that could be guessed.
    """
    blocks = (environment.webhook_secret, environment.previous_webhook_secret)
    # Not `get()`, which reads a secret of digits as a number.
    secrets = [block.value.get_secret_value() for block in blocks if block is not None]
    if not all(_is_long(secret) for secret in secrets):
        raise Refused(
            f"A webhook secret of {environment.stage} is not usable",
            why=_GUESSED,
            do=f"Make one with `openssl rand -hex 32`, set it with `python -m blocks register {environment.stage}`.",
        )
    return tuple(str(secret).encode() for secret in secrets)


def read_secrets(file: Path) -> tuple[bytes, ...]:
    """Return the secrets that a delivery may be signed with out of a file, one a line.

    Raises `Refused` for a file that cannot be read, holds none, or one that could be guessed.
    """
    do = "Write one from `openssl rand -hex 32` into it, for the receiver's user alone to read."
    try:
        secrets = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"The file of webhook secrets {file} cannot be read", why=str(error), do=do) from error
    if not secrets or not all(_is_long(secret) for secret in secrets):
        raise Refused(f"A webhook secret in {file} is not usable", why=_GUESSED if secrets else "there is none", do=do)
    return tuple(secret.encode() for secret in secrets)


def _is_long(secret: object) -> bool:
    return isinstance(secret, str) and len(secret) >= LEAST_SECRET


def create_app(opener: Callable[[], AbstractAsyncContextManager[Receiver]] = open_receiver) -> FastAPI:
    """Build the receiver; `opener` gives what it works with, once, when the process starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _log_to_stderr()
        async with opener() as receiver:
            app.state.receiver = receiver
            log.info(json.dumps({"message": "receiving", "environment": receiver.environments}))
            yield

    app = FastAPI(
        title="Pointsman webhook",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would name whatever Host its asker sent
    )
    app.add_middleware(PlainStartupFailure)
    app.add_api_route("/healthz", _health, methods=["GET"], response_model=Health)
    app.add_api_route("/webhooks/github", _receive, methods=["POST"], response_model=Answer)
    return app


class PlainStartupFailure:
    """Turns a refused start into its one sentence; the server would log a traceback around it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; only the message of a start that ended in one of our errors is replaced."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        failures: list[Message] = []

        async def send_or_keep_failure(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failures.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, send_or_keep_failure)
        except PointsmanError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        except BaseException:
            for failure in failures:
                await send(failure)
            raise


async def _health() -> Health:
    return Health()


async def _receive(request: Request) -> JSONResponse:
    started = time.monotonic()
    status, answer = await _handle(request, request.app.state.receiver)
    log.log(
        logging.INFO if status < 400 else logging.WARNING,
        json.dumps(
            {
                "delivery": _delivery_id(request),
                "http": status,
                "milliseconds": round((time.monotonic() - started) * 1000),
                **answer.model_dump(mode="json", exclude_none=True),
            },
            ensure_ascii=False,
        ),
    )
    headers = {"Retry-After": "10"} if status == 503 else None
    return JSONResponse(answer.model_dump(mode="json", exclude_none=True), status, headers)


async def _handle(request: Request, receiver: Receiver) -> tuple[int, Answer]:
    body = await receiver.intake.take(request, [secret for one in receiver.served for secret in one.secrets])
    if isinstance(body, Reject):
        return body.status, _rejected(body.sentence)
    try:
        payload = _parse(request.headers.get("Content-Type"), body)
    except ValueError as error:
        return 400, _rejected(str(error))
    event, signature = request.headers.get("X-GitHub-Event"), request.headers.get(SIGNATURE, "")
    # Who may announce one application's tags may not announce another's.
    asked = [one for one in receiver.served if is_signed(body, signature, one.secrets)]
    return _together(await asyncio.gather(*(_follow(decide(event, payload, one.wanted), one) for one in asked)))


async def _follow(decision: Decision, served: Served) -> tuple[int, Answer]:
    match decision:
        case Release():
            return await _release(decision, served.runs)
        case Pong(sentence):
            return 200, Answer(status="pong", detail=sentence)
        case Ignore(reason):
            return 202, Answer(status="ignored", detail=reason)
        case Reject(status, sentence):
            return status, _rejected(sentence)


_WEIGHT = {"failed": 0, "accepted": 1, "rejected": 2, "pong": 3, "ignored": 4}


def _together(answers: list[tuple[int, Answer]]) -> tuple[int, Answer]:
    """Return the answer of all environments that a delivery is for: that of the weightiest, with what each said.

    A run that was not created comes first, so that GitHub's button brings it; what was created then is the same run.
    """
    weighty = sorted(answers, key=lambda one: _WEIGHT[one[1].status])
    status, first = weighty[0]
    said = [answer.detail for _, answer in weighty if answer.status == first.status or answer.status != "ignored"]
    return status, first.model_copy(update={"detail": " ".join(dict.fromkeys(said))})


async def _release(release: Release, runs: RunCreator) -> tuple[int, Answer]:
    try:
        run = await runs.create(release)
    except Transient as error:
        return 503, Answer(status="failed", detail=str(error))
    except Permanent as error:
        return 500, Answer(status="failed", detail=str(error))
    detail = f"{release.tag} at {release.commit[:12]} is released by flow run {run.name!r}, now {run.state}."
    return 202, Answer(status="accepted", detail=detail, flow_run_id=run.id, url=run.url)


def _parse(content_type: str | None, body: bytes) -> object:
    if (content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise ValueError("The content type is not application/json: select it in the webhook's settings on GitHub.")
    try:
        payload: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("The body is not valid JSON.") from error
    return payload


def _rejected(detail: str) -> Answer:
    return Answer(status="rejected", detail=detail)


def _delivery_id(request: Request) -> str | None:
    """GitHub's name for the delivery, if it looks like one: an unsigned request may hold anything."""
    name = request.headers.get("X-GitHub-Delivery", "")
    return name if _DELIVERY_ID.fullmatch(name) else None


def _read_settings() -> ReceiverSettings:
    try:
        return ReceiverSettings.model_validate(dict(os.environ))
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(
            f"{first['loc'][0]} is missing or wrong",
            why=first["msg"],
            do="docs/webhook.md lists the receiver's settings.",
        ) from error


def _load(environment: str) -> ReleaseEnvironment:
    try:
        return load_environment(environment)
    except httpx.HTTPError as error:
        raise Transient(
            "Prefect does not answer, so the environment's block cannot be loaded",
            why=str(error),
            do="Start Prefect's server, or fix PREFECT_API_URL and PREFECT_API_AUTH_STRING.",
        ) from error


def _log_to_stderr() -> None:
    """Give our lines a handler: uvicorn configures its own loggers only."""
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


app = create_app()
