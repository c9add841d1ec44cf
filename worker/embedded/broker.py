"""A Kafka broker of our own on loopback: librdkafka's mock cluster, which comes in the confluent-kafka wheel.

It speaks the real protocol: metadata, produce, fetch, consumer groups, commits. What it is not:

- it keeps 5 MiB (as sent, so compress) or 100,000 batches per partition; older records vanish silently;
- it has no admin API and cannot look up offsets by time; topics are created here, through the library itself;
- its data lives in this process and dies with it.

The Python binding can start the cluster but cannot create topics in it, so this file calls the C library by
`ctypes`.

References
----------
librdkafka, ``src/rdkafka_mock.h``.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from alice_rl.errors import DependencyError

__all__ = ["EmbeddedBroker", "load_librdkafka"]

INSTALL_HINT = "pip install 'alice-rl[demo]', or configure kafka.bootstrap_servers"

RD_KAFKA_PRODUCER = 0
LOG_ERROR = b"3"  # syslog levels: the library's notice that its own client has no broker is of no use here
GROUP_INITIAL_REBALANCE_DELAY_MS = 100  # how long a new group waits for more members; the library's default is 3 s

# name -> (result type, argument types), as declared in rdkafka.h and rdkafka_mock.h
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_conf_new": (ctypes.c_void_p, []),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_new": (ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_err2str": (ctypes.c_char_p, [ctypes.c_int]),
    "rd_kafka_mock_cluster_new": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [ctypes.c_void_p]),
    "rd_kafka_mock_topic_create": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int],
    ),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_down": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
}


def load_librdkafka() -> ctypes.CDLL:
    """The C library inside the confluent-kafka wheel, with the functions used here declared.

    Raises
    ------
    DependencyError
        If the package is not installed, or its library is not where the wheels put it.
    """
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise DependencyError("the embedded broker needs confluent-kafka", hint=INSTALL_HINT)
    package = Path(spec.origin).parent
    # auditwheel (Linux) and delvewheel (Windows) put it beside the package, delocate (macOS) inside.
    folders = [package.with_name("confluent_kafka.libs"), package / ".dylibs"]
    files = sorted(path for folder in folders for path in folder.glob("librdkafka*"))
    if not files:
        raise DependencyError(f"no librdkafka beside {package}", hint=INSTALL_HINT)
    library = ctypes.CDLL(str(files[0]))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class EmbeddedBroker:
    """A one-broker Kafka cluster inside this process.

    Examples
    --------
    >>> with EmbeddedBroker() as broker:
    ...     bootstrap = broker.start({"telemetry": 6})
    >>> bootstrap.startswith("127.0.0.1:")
    True
    """

    def __init__(self) -> None:
        self.bootstrap = ""
        self._library: ctypes.CDLL | None = None
        self._client: int | None = None
        self._cluster: int | None = None

    def __enter__(self) -> EmbeddedBroker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self, topics: Mapping[str, int]) -> str:
        """Start the cluster with `topics` (name -> number of partitions) and return its bootstrap address.

        Raises
        ------
        DependencyError
            If the library is missing or refuses.
        """
        self._library = library = load_librdkafka()
        self._client = self._new_client(library)
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            raise DependencyError("librdkafka could not start its mock cluster")
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, GROUP_INITIAL_REBALANCE_DELAY_MS)
        self.bootstrap = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        for name, partitions in topics.items():
            self.create_topic(name, partitions)
        return self.bootstrap

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Add a topic.

        Raises
        ------
        DependencyError
            If the topic exists already or the number of partitions is refused.
        """
        self._check(
            self._running().rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1),
            f"cannot create topic {name!r} with {partitions} partitions",
        )

    def set_down(self) -> None:
        """Take the broker off the network: connections break and new ones are refused; the data stays."""
        self._check(self._running().rd_kafka_mock_broker_set_down(self._cluster, -1), "cannot take the broker down")

    def set_up(self) -> None:
        """Put the broker back."""
        self._check(self._running().rd_kafka_mock_broker_set_up(self._cluster, -1), "cannot bring the broker up")

    def stop(self) -> None:
        """Stop the cluster and drop its data; calling it twice is fine."""
        if self._library is not None and self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        if self._library is not None and self._client:
            self._library.rd_kafka_destroy(self._client)
        self._cluster = self._client = None

    def _running(self) -> ctypes.CDLL:
        if self._library is None or not self._cluster:
            raise DependencyError("the embedded broker is not running")
        return self._library

    def _check(self, error: int, what: str) -> None:
        if error:
            reason = self._running().rd_kafka_err2str(error).decode()
            raise DependencyError(f"{what}: {reason}")

    @staticmethod
    def _new_client(library: ctypes.CDLL) -> int:
        # The cluster hangs off a client handle; this one never connects to anything itself.
        reason = ctypes.create_string_buffer(512)
        conf = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(conf, b"log_level", LOG_ERROR, reason, len(reason))
        client = library.rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, len(reason))
        if not client:
            raise DependencyError(f"librdkafka: {reason.value.decode()}")
        return int(client)
