"""`toolrail metrics`: `/metrics` for Prometheus over the record, and the files that go with it."""

from __future__ import annotations

import argparse
import sys
import threading
from importlib.util import find_spec

from toolrail.cli.places import records_argument, records_url
from toolrail.cli.problem import Problem

PORT = 9464


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=PORT, help=f"the port to listen on ({PORT}); 0 takes a free one")
    parser.add_argument("--once", action="store_true", help="print what a scrape would get, and leave")
    parser.add_argument("--rules", action="store_true", help="print alert rules for Prometheus (YAML), and leave")
    parser.add_argument("--grafana", action="store_true", help="print a dashboard for Grafana (JSON), and leave")


def run(options: argparse.Namespace) -> int:
    """Serves until it is interrupted, or prints one thing."""
    if find_spec("prometheus_client") is None:
        raise Problem(
            "toolrail metrics", "the package prometheus-client is missing.", 'pip install "toolrail[prometheus]"'
        )
    from toolrail.records.prometheus.files import alert_rules, grafana_dashboard

    if options.rules or options.grafana:
        sys.stdout.write(alert_rules() if options.rules else grafana_dashboard())
        return 0
    return _scrape(records_url(options)) if options.once else _serve(options)


def _scrape(url: str) -> int:
    """Prints one scrape; 1 when the record could not be read."""
    from prometheus_client import CollectorRegistry, generate_latest

    from toolrail.records.prometheus.collector import RecordsCollector

    registry = CollectorRegistry()
    registry.register(RecordsCollector(url))
    text = generate_latest(registry).decode()
    sys.stdout.write(text)
    return 0 if "\ntoolrail_up 1" in text else 1


def _serve(options: argparse.Namespace) -> int:
    from prometheus_client import CollectorRegistry, start_http_server

    from toolrail.records.prometheus.collector import RecordsCollector

    registry = CollectorRegistry()
    registry.register(RecordsCollector(records_url(options)))
    try:
        server, _ = start_http_server(options.port, options.host, registry)
    except OSError as error:
        where = f"{options.host}:{options.port}"
        raise Problem(where, f"cannot listen there: {error.strerror}.", "Choose another --port or --host.") from error
    print(f"http://{options.host}:{server.server_port}/metrics (no login: keep it inside)", flush=True)
    try:
        threading.Event().wait()
    finally:
        server.shutdown()
        server.server_close()
    return 0


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
    return port
