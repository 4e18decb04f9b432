"""Starlette on Uvicorn: escapes are decoded before a route is matched, as ASGI prescribes."""

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route


def handler(name):
    async def app(scope, receive, send):
        await PlainTextResponse(f"{name} {scope['path']}\n")(scope, receive, send)

    return app


def endpoint(name):
    async def answer(request):
        return PlainTextResponse(f"{name} {request.url.path}\n")

    return answer


app = Starlette(
    routes=[
        Host("admin.example.com", app=handler("admin")),
        Mount("/admin", app=handler("admin")),
        Route("/keys", endpoint("admin")),
        Route("/orders", endpoint("admin"), methods=["POST"]),
        Mount("/public", app=handler("public")),
        Mount("/", app=handler("fallback")),
    ]
)

uvicorn.run(app, uds="socket", log_level="warning")
