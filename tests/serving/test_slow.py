"""Clients that keep a server busy by doing little, over real connections."""

import gc
import socket
import threading
import time

import pytest

pytest.importorskip("uvicorn")

import uvicorn

from irllrec_pyg.commands.serve import answer, listening
from irllrec_pyg.serving import create_app

HEAD = b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ASKED = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def served(ease, monkeypatch):
    """The address of a server that waits for bodies 0.3 seconds and takes 2 connections."""
    servers = []

    class Kept(uvicorn.Server):
        def __init__(self, config):
            super().__init__(config)
            servers.append(self)

    monkeypatch.setattr(uvicorn, "Server", Kept)
    app = create_app(ease, {"max_seconds": 0.3})
    with listening("127.0.0.1", 0) as server:
        thread = threading.Thread(target=answer, args=(app, server, 2))
        thread.start()
        yield server.getsockname()
        servers[0].should_exit = True
        thread.join()
    gc.unfreeze()


def test_a_body_that_does_not_arrive_is_given_up(served):
    with socket.create_connection(served, timeout=10) as slow:
        slow.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        said = slow.recv(4096)
        assert said.startswith(b"HTTP/1.1 408 ")
        while more := slow.recv(4096):  # until the connection is closed
            said += more
        assert b'"error":"The body took more than 0.3 seconds' in said
    body = b'{"users": ["u1"]}'
    with socket.create_connection(served, timeout=10) as slow:
        slow.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
        time.sleep(0.05)
        slow.sendall(body[5:])
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_connections_are_bounded(served):
    with socket.create_connection(served, timeout=10) as one:
        one.sendall(ASKED)
        assert one.recv(4096).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(served, timeout=10) as second:  # as many as there may be
            second.sendall(ASKED)
            assert second.recv(4096).startswith(b"HTTP/1.1 200 ")
            with socket.create_connection(served, timeout=10) as third:
                third.sendall(ASKED)
                assert third.recv(4096).startswith(b"HTTP/1.1 503 ")


def test_a_reader_that_takes_nothing_is_let_go_by_the_system():
    with listening("127.0.0.1", 0) as server:
        if not hasattr(socket, "TCP_USER_TIMEOUT"):
            pytest.skip("The system has no such option.")
        with socket.create_connection(server.getsockname()), server.accept()[0] as taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
