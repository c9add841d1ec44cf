"""How Kafka is reached: the `[kafka]` section, and the keyword arguments that aiokafka's clients take from it."""

from __future__ import annotations

import ssl
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from alice_rl.errors import ConfigError
from alice_rl.settings.fields import SECRET

__all__ = ["KafkaSettings"]


class KafkaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[kafka]` section."""

    bootstrap_servers: Annotated[
        str, Meta(min_length=1, description="host:port of one or more brokers, between commas")
    ] = "127.0.0.1:9092"
    topic: Annotated[str, Meta(min_length=1, max_length=249, description="topic of the telemetry")] = "alice.telemetry"
    dead_letter_topic: Annotated[
        str, Meta(max_length=249, description='topic for rejected records; "" counts and logs them only')
    ] = "alice.telemetry.dead"
    group_id: Annotated[str, Meta(min_length=1, description="consumer group of the workers")] = "alice-rl"
    start_from: Annotated[
        Literal["earliest", "latest"],
        Meta(description="where a new lineage begins; later partitions are read whole"),
    ] = "earliest"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="TLS and SASL, or neither")
    ] = "PLAINTEXT"
    ssl_ca_file: Annotated[str, Meta(description='PEM of the authority; "" for the system\'s')] = ""
    ssl_cert_file: Annotated[str, Meta(description="PEM of the client's certificate, for mutual TLS")] = ""
    ssl_key_file: Annotated[str, Meta(description="PEM of the client's key")] = ""
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="how a user proves who it is")
    ] = "SCRAM-SHA-512"
    sasl_username: Annotated[str, Meta(description="user for SASL")] = ""
    sasl_password: Annotated[str, Meta(extra=SECRET, description="password for SASL; by environment or file only")] = ""
    fetch_wait_ms: Annotated[
        int, Meta(ge=1, le=10_000, description="how long the broker may hold back a small fetch")
    ] = 100
    partition_fetch_bytes: Annotated[
        int, Meta(ge=65_536, le=64 << 20, description="bytes fetched at once from one partition")
    ] = 1 << 20
    session_timeout_ms: Annotated[
        int, Meta(ge=1_000, le=300_000, description="after so long a silence the group gives the partitions away")
    ] = 10_000
    start_timeout_seconds: Annotated[float, Meta(ge=0, le=3600, description="how long a start waits for Kafka")] = 30.0

    def __post_init__(self) -> None:
        if self.security_protocol.startswith("SASL") and not self.sasl_username:
            raise ConfigError(
                f"kafka.sasl_username is empty, but kafka.security_protocol is {self.security_protocol}",
                hint="name the user, and set its password in ALICE__KAFKA__SASL_PASSWORD",
            )
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            raise ConfigError("kafka.ssl_cert_file and kafka.ssl_key_file go together", hint="set both or neither")

    def connection(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client.

        Raises
        ------
        ConfigError
            A certificate cannot be read.
        """
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "request_timeout_ms": 20_000,
        }
        if "SSL" in self.security_protocol:
            arguments["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            arguments |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": str(self.sasl_password),
            }
        return arguments

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca_file or None)
            if self.ssl_cert_file:
                context.load_cert_chain(self.ssl_cert_file, self.ssl_key_file)
        except OSError as error:
            raise ConfigError(
                f"the TLS files of Kafka cannot be used: {error}",
                hint="check kafka.ssl_ca_file, kafka.ssl_cert_file and kafka.ssl_key_file",
            ) from error
        return context
