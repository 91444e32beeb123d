"""The page, its frames as server-sent events, and its pictures, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.liveview.objects import Objects
from consumer.liveview.recent import Picture
from consumer.liveview.view import FRAME_SECONDS, View
from imaging.rules import ImageError
from imaging.thumbnail import Thumbnail, thumbnail

PAGE = Path(__file__).parent / "page"
MAX_VIEWERS = 16
"""Most open pages; a further one gets a message instead of slowing down the others."""
MAX_SIDE = 480
"""Longest side of a picture in pixels: the size on the page, on a screen of double density."""
MAX_DECODING = 2
"""Most pictures that are decoded at a time. This bounds their memory, and leaves processors for
other work."""
MAX_CONNECTIONS = 128
"""Most open connections: six for each browser and some more; others are refused."""
STOP_SECONDS = 2
"""Seconds that a stop waits for pages which do not read what they are sent; then they are cut
off."""

_HEADERS = {
    # Only the page's own files are loaded, whatever a label may contain.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Nothing is cached: the images belong to others, and numbers begin anew with each start.
    "Cache-Control": "no-store",
}


def make_server(view: View, hosts: Sequence[str], objects: Objects | None = None) -> uvicorn.Server:
    """Make the server of one view, which then runs on a listening socket.

    Args:
        view: gives what is shown.
        hosts: names under which the page may be requested: a foreign name that is made to lead
            here (DNS rebinding) is refused.
        objects: fetches pictures from object storage; None: such pictures are not shown.
    """
    # Streams never end by themselves: they check whether the server ends.
    app = _make_app(view, hosts, lambda: server.should_exit, objects)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
    return server


def _thumbnail(picture: Picture) -> Thumbnail:
    kind, dtype, shape = picture.content_type, picture.dtype, picture.shape
    return thumbnail(picture.value, kind, dtype, shape, side=MAX_SIDE, exact_side=MAX_SIDE)


def _make_app(
    view: View,
    hosts: Sequence[str],
    stopping: Callable[[], bool],
    objects: Objects | None = None,
) -> Starlette:
    decoding = asyncio.Semaphore(MAX_DECODING)

    async def picture(request: Request) -> Response:
        found = view.picture(request.path_params["number"])
        if found is not None and found.reference is not None:
            fetched = None if objects is None else await objects.fetch(found.reference)
            found = None if fetched is None else found._replace(value=fetched)
        if found is not None:
            try:
                async with decoding:
                    made = await run_in_threadpool(_thumbnail, found)
            except ImageError:
                pass
            else:
                return Response(made.value, media_type=made.content_type)
        # Not an error: some records hold no image, and old images go while a page asks for them.
        return FileResponse(PAGE / "no-picture.svg")

    async def alike(request: Request) -> Response:
        async with decoding:
            found = await run_in_threadpool(view.alike, request.path_params["number"])
        return Response(found, media_type="application/json")

    async def image(request: Request) -> Response:
        found = await run_in_threadpool(view.image, request.query_params.get("id", ""))
        return Response(found, media_type="application/json")

    return Starlette(
        routes=[
            Route("/events", _Events(view, stopping), methods=["GET"]),
            Route("/alike/{number:int}", alike),
            Route("/pictures/{number:int}", picture),
            Route("/image", image),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
    )


class _Events:
    """Frames for one open page; a slow reader gets fewer frames, and none are stored for it."""

    def __init__(self, view: View, stopping: Callable[[], bool]) -> None:
        self._view = view
        self._stopping = stopping
        self._viewers = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response
        if self._viewers >= MAX_VIEWERS:
            text = f"{MAX_VIEWERS} pages are open already; close one\n"
            response = PlainTextResponse(text, HTTPStatus.SERVICE_UNAVAILABLE)
            await response(scope, receive, send)
            return
        self._viewers += 1
        try:
            response = StreamingResponse(self._frames(), media_type="text/event-stream")
            await response(scope, receive, send)
        finally:
            self._viewers -= 1

    async def _frames(self) -> AsyncIterator[bytes]:
        yield b"retry: 1000\n\n"
        while not self._stopping():
            yield b"data: " + self._view.frame() + b"\n\n"
            await asyncio.sleep(FRAME_SECONDS)


class _SafeHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
