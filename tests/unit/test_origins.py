"""One host is one target, however its URL is spelt."""

import pytest

from domain.origins import origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Shop.example/hook?a=1", "https://shop.example:443"),
        ("http://shop.example", "http://shop.example:80"),
        ("HTTP://SHOP.example:080/x", "http://shop.example:80"),
        ("http://shop.example:8080/#x", "http://shop.example:8080"),
        ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1:80"),
        ("http://shop\u3002example/", "http://shop.example:80"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://[0:0:0:0:0:0:0:1]:8080/", "http://[::1]:8080"),
        ("http://\u2603.example/", "http://xn--n3h.example:80"),
    ],
)
def test_an_origin_has_one_spelling(url: str, expected: str) -> None:
    assert origin(url) == expected
