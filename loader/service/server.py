"""`loader serve`: the app on a socket, the schedule in the background, and a graceful shutdown."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone

import uvicorn
from starlette.types import ASGIApp

from loader.errors import ConfigurationError
from loader.hours import iso
from loader.runs.dbt import kill_running
from loader.runs.run import Job
from loader.service.app import make_service
from loader.service.connections import MAX_CONNECTIONS, LimitedConnection
from loader.service.schedule import make_schedule
from loader.service.settings import ServiceSettings, minutes
from loader.stopping import StopSignal

# An export that was asked to stop ends within seconds, or after a body that is still being sent.
DRAIN_SECONDS = 135


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: `StopSignal` handles signals, for runs as well as for requests."""

    def __init__(self, config: uvicorn.Config, stop: StopSignal) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether to shut down."""
        return await super().on_tick(counter) or self._stop.is_set


def make_config(app: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves the app; `LimitedConnection` takes the place of its limit on connections."""
    return uvicorn.Config(
        app,
        http=LimitedConnection,
        access_log=False,
        log_config=None,
        log_level=None,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def run_service(settings: ServiceSettings, job: Job) -> None:
    """Serve until SIGTERM or Ctrl-C; then finish the request to CloudZero and all open requests, and return.

    A second signal ends the process and dbt immediately, which is as safe as SIGKILL.

    Raises:
        ConfigurationError: the service cannot listen on the address, or a setting is not valid.
    """

    def say(message: str) -> None:
        job.say(f"{iso(datetime.now(timezone.utc))} {message}")

    def exit_immediately() -> None:
        # dbt has a session of its own: it would go on, and keep its locks.
        kill_running()
        with suppress(RuntimeError):  # the signal interrupted another write
            say(f"Forced to exit by a second signal ({stop.name}).")
        # Not sys.exit, which waits for threads.
        os._exit(128 + stop.number)

    with StopSignal(exit_immediately) as stop:
        service = make_service(settings, replace(job, say=say), stop)
        listener = _listen(settings.host, settings.port)
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        schedule = make_schedule(service.scheduled_run, settings.interval)
        for warning in settings.warnings:
            say(f"Warning: {warning}")
        say(f"Listening on {_url(listener)}, a run every {minutes(settings.interval)} minutes. Press Ctrl-C to stop.")
        schedule.start()
        Server(make_config(service.app), stop).run(sockets=[listener])
        stop.set()
        schedule.shutdown(wait=True)
        say(f"Stopped by {stop.name}.")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise ConfigurationError(
            f"Could not listen on {host}:{port}: {error.strerror or error}. Choose another --port or --host."
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
