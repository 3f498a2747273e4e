"""Whoever is named by strangers is not flooded."""

from domain.target_rate import TargetRate, host_of

HOSTS = {"we_1": "shop", "we_2": "shop", "we_3": "other"}


def use(rate: TargetRate, host: str, count: int, now_s: float) -> None:
    for _ in range(count):
        rate.use(host, now_s)


def test_targets_at_one_host_share_what_it_may_get() -> None:
    rate = TargetRate(20, 40)

    assert rate.within({"we_1": 30, "we_2": 30, "we_3": 30}, HOSTS, 0) == {"we_1": 30, "we_2": 10, "we_3": 30}


def test_what_was_used_comes_back_with_time_up_to_the_burst() -> None:
    rate = TargetRate(20, 40)
    use(rate, "shop", 40, 0)

    assert rate.within({"we_1": 50}, HOSTS, 0) == {}
    assert rate.within({"we_1": 50}, HOSTS, 1) == {"we_1": 20}
    assert rate.within({"we_1": 50}, HOSTS, 100) == {"we_1": 40}


def test_a_host_is_known_by_its_name_alone() -> None:
    assert host_of("https://Shop.example:8443/hook") == host_of("http://shop.example/") == "shop.example"
    assert host_of("http://[::1]:80") == "::1"
