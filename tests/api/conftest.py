"""What the tests of one module may share: accounts that no test changes."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server, serving
from tests.factories import Account, Psp


@pytest.fixture(scope="module")
def shared_psp(server: Server) -> Iterator[Psp]:
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture
def psp(shared_psp: Psp) -> Psp:
    """The same client: a new one a test would load the machine's certificates each time, for plain HTTP."""
    return shared_psp


@pytest.fixture(scope="module")
def user(shared_psp: Psp) -> Account:
    return shared_psp.register("user")


@pytest.fixture(scope="module")
def merchant(shared_psp: Psp) -> Account:
    return shared_psp.register("merchant")


@pytest.fixture(scope="module")
def admin(shared_psp: Psp) -> Account:
    return shared_psp.register("admin")


@pytest.fixture(scope="module")
def root(shared_psp: Psp) -> dict[str, str]:
    """The first system_admin's Authorization header."""
    return shared_psp.root()


@pytest.fixture(scope="session")
def proxied_server(server: Server, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the shared database behind proxies: on this machine, and in a network of documentation addresses."""
    log = tmp_path_factory.mktemp("proxied") / "server.log"
    settings = {"TRUSTED_PROXIES": "127.0.0.1, 192.0.2.0/24, 2001:db8:aa::/48", "WORKER": "off"}
    with serving(log, DATA_DIR=str(data_dir), MONGODB_DB="tests", LOGIN_THROTTLE="on", **settings) as proxied:
        yield proxied


@pytest.fixture(scope="module")
def proxied_psp(proxied_server: Server) -> Iterator[Psp]:
    with httpx.Client(base_url=proxied_server.url, timeout=35, verify=False) as client:
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture(scope="module")
def patient_psp(patient_server: Server) -> Iterator[Psp]:
    with httpx.Client(base_url=patient_server.url, timeout=35, verify=False) as client:
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
