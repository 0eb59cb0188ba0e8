"""`loader serve`: the app on a socket, the schedule beside it, and an orderly end."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone

import uvicorn

from loader.errors import ConfigurationError
from loader.hours import iso
from loader.runs.dbt import kill_running
from loader.runs.run import Job
from loader.service.app import make_service
from loader.service.request_limits import MAX_REQUESTS
from loader.service.schedule import make_schedule
from loader.service.settings import ServiceSettings, minutes
from loader.stopping import StopSignal

# uvicorn answers whoever comes after these without a look at what is asked, probes too: so the requests under way are
# bounded by `guard.MAX_REQUESTS` long before, and this is for connections on which nobody asks anything.
MAX_CONNECTIONS = 8 * MAX_REQUESTS
# A request to CloudZero is given 120 s: an export that is told to stop has ended by then.
DRAIN_SECONDS = 135


class Server(uvicorn.Server):
    """uvicorn, which leaves the signals to us: a run must hear of them as well."""

    def __init__(self, config: uvicorn.Config, stop: StopSignal) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Asked ten times a second whether to end."""
        return await super().on_tick(counter) or self._stop.is_set


def run_service(settings: ServiceSettings, job: Job) -> None:
    """Serve until SIGTERM or Ctrl-C: then end the body in flight, answer what was asked, and return.

    A second signal ends the process at once, which is as safe as SIGKILL, and dbt with it.

    Raises:
        ConfigurationError: the address cannot be listened on, or a setting is wrong.
    """

    def say(message: str) -> None:
        job.say(f"{iso(datetime.now(timezone.utc))} {message}")

    def end_at_once() -> None:
        # In a session of its own it would go on, and hold the turn's place and its locks.
        kill_running()
        with suppress(RuntimeError):  # it came in the middle of another line
            say(f"Ended at once by a second signal ({stop.name}).")
        # Threads would be waited for.
        os._exit(128 + stop.number)

    with StopSignal(end_at_once) as stop:
        service = make_service(settings, replace(job, say=say), stop)
        listener = _listen(settings.host, settings.port)
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        config = uvicorn.Config(
            service.app, access_log=False, log_config=None, log_level=None, lifespan="off", ws="none",
            server_header=False, limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=DRAIN_SECONDS,
        )  # fmt: skip
        schedule = make_schedule(service.ticker, settings.interval)
        for warning in settings.warnings:
            say(f"Warning: {warning}")
        say(f"Listening on {_url(listener)}, a run every {minutes(settings.interval)} minutes. Ctrl-C ends it.")
        schedule.start()
        Server(config, stop).run(sockets=[listener])
        stop.set()
        schedule.shutdown(wait=True)
        say(f"Ended by {stop.name}.")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise ConfigurationError(
            f"The service cannot listen on {host}:{port}: {error.strerror or error}. Choose another --port or --host."
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
