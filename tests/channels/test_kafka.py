"""Kafka, on a real server."""

from __future__ import annotations

import secrets

import pytest

from tallystick.channels.base import Channel
from tallystick.channels.kafka import KafkaChannel
from tallystick.testing.channels import ChannelContract
from tests.services import service

pytestmark = pytest.mark.service("kafka")


class TestKafka(ChannelContract):
    lease_seconds = 2.0  # librdkafka gives a member up that a busy machine kept from polling for this long

    def make_channel(self) -> Channel:
        topic = f"test-{secrets.token_hex(6)}"
        return KafkaChannel.from_url(f"{service('kafka')}?topic={topic}&lease_seconds={self.lease_seconds}")

    def reopen(self, channel: Channel) -> Channel:
        assert isinstance(channel, KafkaChannel)
        return KafkaChannel(channel._url)

    def put(self, channel: Channel, payload: bytes) -> None:
        assert isinstance(channel, KafkaChannel)
        producer = channel._producer
        producer.produce(channel.topic, payload)
        producer.flush(5)
