"""Flask on Werkzeug's server: escapes are decoded before a route is matched, as WSGI prescribes."""

from flask import Flask, request
from werkzeug.serving import WSGIRequestHandler, make_server

app = Flask(__name__, static_folder=None)


def answer(handler):
    return f"{handler} {request.path}\n", {"content-type": "text/plain"}


@app.before_request
def by_host():
    if request.host.partition(":")[0] == "admin.example.com":
        return answer("admin")


@app.route("/admin")
@app.route("/admin/")
@app.route("/admin/<path:rest>")
@app.route("/keys")
@app.post("/orders")
def admin(rest=""):
    return answer("admin")


@app.route("/public/<path:rest>")
def public(rest):
    return answer("public")


@app.route("/")
@app.route("/<path:rest>")
def fallback(rest=""):
    return answer("fallback")


class KeepAlive(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


make_server("unix://socket", 0, app, threaded=True, request_handler=KeepAlive).serve_forever()
