"""What notifications talk to: a server of webhooks and GitHub issues over HTTP, and one that takes mail by SMTP."""

import email
import email.policy
import json
import re
import socketserver
from http.server import BaseHTTPRequestHandler

from tests.stand_ins.served import Served


class Web(Served):
    """A webhook at /hook, and the issues of GitHub's REST API below /api; `down` makes it answer 503.

    Attributes:
        hooked: Bodies that the webhook got.
        issues: By number: title, state, labels, and `comments`.
    """

    def __init__(self, token="t0ken"):
        self.hooked, self.issues, self.token, self.down = [], {}, token, False
        self.serve(_Handler)

    def answer(self, method, path, headers, body):
        if self.down:
            return 503, {"message": "unavailable"}
        if (method, path) == ("POST", "/hook"):
            self.hooked.append(body)
            return 200, "ok"
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"message": "Bad credentials"}
        path, _, query = path.partition("?")
        found = re.fullmatch(r"/api/repos/me/mine/issues(?:/(\d+)(/comments)?)?", path)
        if not found:
            return 404, {"message": "Not Found"}
        number = int(found[1]) if found[1] else None
        if number is None and method == "GET":
            assert "state=open" in query
            return 200, [issue for issue in self.issues.values() if issue["state"] == "open"]
        if number is None:
            made = {**body, "number": len(self.issues) + 1, "state": "open", "comments": []}
            self.issues[made["number"]] = made
            return 201, made
        if found[2]:
            self.issues[number]["comments"].append(body["body"])
            return 201, {}
        self.issues[number] |= body
        return 200, self.issues[number]


class _Handler(BaseHTTPRequestHandler):
    def _do(self):
        size = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        status, answer = self.server.stand_in.answer(self.command, self.path, self.headers, body)
        told = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = do_PATCH = do_PUT = _do

    def log_message(self, *_):
        pass


class Mail(Served):
    """An SMTP server (RFC 5321, AUTH PLAIN), without TLS.

    Attributes:
        got: (envelope recipients, message) of every mail.
        logins: What clients logged in with, as they sent it.
    """

    def __init__(self):
        self.got, self.logins = [], []
        self.serve(_Smtp)


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self):
        recipients = []
        self.say("220 stand-in")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                self.say("250-stand-in\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                self.server.stand_in.logins.append(line.split(" ")[2])
                self.say("235 ok")
            elif verb == "RCPT":
                recipients.append(re.search(r"<(.*)>", line)[1])
                self.say("250 ok")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text.removeprefix(b".") if text.startswith(b"..") else text)
                message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                self.server.stand_in.got.append((recipients, message))
                self.say("250 ok")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, line):
        self.wfile.write(f"{line}\r\n".encode())
