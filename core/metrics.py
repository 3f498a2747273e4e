"""What is counted: each family of metrics, whose labels take few values, none of them a client's.

Until `core/shared_metrics.py` lets processes share a place, each counts for itself. Every family has a label, because
prometheus-client decides where a value is kept when it is first made: those without would be made here, too early.
"""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry(auto_describe=True)
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30)
_COMMAND_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 4)
_EXCHANGE_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"mock_psp_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets_s: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"mock_psp_{name}", text, labels, buckets=buckets_s, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str, over_processes: Literal["livesum", "livemax"] = "livesum") -> Gauge:
    """The sum over the processes that live, or the greatest."""
    return Gauge(f"mock_psp_{name}", text, labels, registry=REGISTRY, multiprocess_mode=over_processes)


REQUESTS = _counter("http_requests_total", "Requests answered.", "method", "route", "status")
REQUEST_DURATION = _histogram(
    "http_request_duration_seconds", "From a request's headers to the end of its answer.", _REQUEST_S, "method", "route"
)
RATE_LIMITED = _counter("rate_limited_total", "Requests that were one too many.", "policy")
DROPPED = _counter("dropped_records_total", "What is missing in a log because it was not written down.", "log")

EVENTS = _counter("events_published_total", "Events published; what is repeated counts again.", "type")
ATTEMPTS = _counter("delivery_attempts_total", "Attempts at webhooks, by what came of them and why.", "result", "error")
ATTEMPT_DURATION = _histogram("delivery_duration_seconds", "Of an attempt to deliver a webhook.", _EXCHANGE_S, "result")
TAKEOVERS = _counter("lease_takeovers_total", "Work whose lease ended before it was done, begun again.", "work")

BANK_OPERATIONS = _counter("bank_operations_total", "What the bank was asked, by its answer.", "call", "answer")
BANK_DURATION = _histogram("bank_call_duration_seconds", "Of a batch of operations.", _EXCHANGE_S, "call")
BREAKER = _gauge("bank_breaker", "Processes whose breaker before the bank is in this state.", "state")

COMMAND_DURATION = _histogram("mongodb_command_duration_seconds", "Of a command to MongoDB.", _COMMAND_S, "command")
COMMAND_FAILURES = _counter("mongodb_command_failures_total", "Commands that failed.", "command")
CONNECTIONS = _gauge("mongodb_pool_connections", "Connections to MongoDB.", "state")
CHECKOUT_FAILURES = _counter("mongodb_pool_checkout_failures_total", "Times without a connection.", "reason")

PROCESSES = _gauge("processes", "Processes that live.", "role")
MEMORY = _gauge("process_resident_memory_bytes", "Memory of the processes that live.", "role")
OPEN_FILES = _gauge("process_open_fds", "Open file descriptors of the processes that live.", "role")
CPU = _counter("process_cpu_seconds_total", "Time on a processor.", "role")
LOOP_DELAY = _gauge(
    "event_loop_delay_seconds",
    "How late the event loop was the last time, where it was latest.",
    "role",
    over_processes="livemax",
)
