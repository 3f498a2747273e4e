"""Rate limits: how many requests in which time, of whom, and how a client is told where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class By(StrEnum):
    """Whose requests are counted together."""

    KEY = "key"
    """The API key or payment key that was shown; where none was, the account."""
    ACCOUNT = "account"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `quota` requests in each window, of each that is counted alone."""

    name: str
    quota: int
    window_s: int
    by: By


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one stands under a policy: how many requests are counted, this one among them, and until when."""

    policy: Policy
    counted: int
    reset_s: int

    @property
    def exceeded(self) -> bool:
        return self.counted > self.policy.quota

    @property
    def headers(self) -> Mapping[str, str]:
        """draft-ietf-httpapi-ratelimit-headers-10: structured fields (RFC 9651)."""
        name, left = self.policy.name, max(self.policy.quota - self.counted, 0)
        return {
            "RateLimit-Policy": f'"{name}";q={self.policy.quota};w={self.policy.window_s}',
            "RateLimit": f'"{name}";r={left};t={self.reset_s}',
        }
