"""Counting requests by what is known of them in advance: methods, routes of the application, statuses."""

from prometheus_client import Counter, Histogram
from starlette.types import Scope

from core import metrics

OTHER = "other"
"""What the client made up: its own method, or a path that is no route's."""
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# What `labels` would look up again, at ten times the price.
_counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}


def route_of(scope: Scope) -> str:
    """The route's path with its parameters' names."""
    route = scope.get("route")
    return OTHER if route is None else route.path


def count_request(scope: Scope, status: int, duration_s: float) -> None:
    method, route = scope["method"], route_of(scope)
    if method not in _METHODS:
        method = OTHER
    found = _counters.get((method, route, status))
    if found is None:
        found = _counters[method, route, status] = (
            metrics.REQUESTS.labels(method, route, status),
            metrics.REQUEST_DURATION.labels(method, route),
        )
    total, duration = found
    total.inc()
    duration.observe(duration_s)


def count_unreadable(status: int) -> None:
    """What is no request that could be handed on, and so took no time."""
    metrics.REQUESTS.labels(OTHER, OTHER, status).inc()
