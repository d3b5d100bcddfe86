"""What every test runs under: checked shapes, two threads, no network, no cache on disk."""

import os
import socket
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors: threads cost more than they give
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CLIPSIGHT_CACHE"] = "off"
os.environ["TQDM_DISABLE"] = "1"
os.environ["COLUMNS"] = "110"
os.environ.pop("FORCE_COLOR", None)
os.environ["NO_COLOR"] = "1"

import hypothesis
import jaxtyping
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

# A busy machine is no failure: no example has a time limit, and slow drawing is allowed. Every run tries the same
# examples; `--hypothesis-profile searching` draws new ones. Nothing is left in the checkout.
_STORAGE = tempfile.TemporaryDirectory(prefix="hypothesis-")
set_hypothesis_home_dir(_STORAGE.name)
for name, same in (("patient", True), ("searching", False)):
    hypothesis.settings.register_profile(
        name,
        deadline=None,
        database=None,
        derandomize=same,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile("patient")

# Before anything imports the package: every annotated shape is checked at every call.
jaxtyping.install_import_hook("clipsight", "beartype.beartype")


def pytest_unconfigure() -> None:
    """Take away what hypothesis kept."""
    _STORAGE.cleanup()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the machine as offline: a connection to anything but this machine is refused."""
    plain_connect = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        local = self.family == socket.AF_UNIX or (
            isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1", "localhost")
        )
        if not local:
            raise OSError(101, f"network is unreachable (tests run offline; asked for {address!r})")
        plain_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
