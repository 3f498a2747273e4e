"""What a browser is told about every answer, as bytes made once."""

Headers = tuple[tuple[bytes, bytes], ...]

CONTENT_SECURITY_POLICY = b"content-security-policy"
_COMMON: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # No other site embeds an answer. What CORS_ORIGINS lets in asks by CORS, of which this says nothing.
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HTTPS_ONLY: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
# For what is no page. Pages bring a policy of their own. None has Cross-Origin-Opener-Policy: a shop may open the
# 3-D Secure page in a window and wait for its end, which that would hide from it.
_NO_PAGE: Headers = ((CONTENT_SECURITY_POLICY, b"default-src 'none'; frame-ancestors 'none'"),)


class SecurityHeaders:
    """The headers to add to an answer, by those it has. `production` is served over HTTPS."""

    def __init__(self, *, production: bool):
        self._for_pages = _COMMON + (_HTTPS_ONLY if production else ())
        self._for_all_else = self._for_pages + _NO_PAGE

    def beside(self, headers: list[tuple[bytes, bytes]]) -> Headers:
        for name, _ in headers:
            if name == CONTENT_SECURITY_POLICY:
                return self._for_pages
        return self._for_all_else
