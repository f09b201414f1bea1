"""NATS JetStream, on a real server."""

from __future__ import annotations

import secrets

import pytest

from tallystick.channels.base import Channel
from tallystick.channels.nats import NatsChannel
from tallystick.testing.channels import ChannelContract
from tests.services import service

pytestmark = pytest.mark.service("nats")


class TestNats(ChannelContract):
    keeps_copies = False

    def make_channel(self) -> Channel:
        stream = f"test-{secrets.token_hex(6)}"
        return NatsChannel.from_url(f"{service('nats')}?stream={stream}&lease_seconds={self.lease_seconds}")

    def reopen(self, channel: Channel) -> Channel:
        assert isinstance(channel, NatsChannel)
        return NatsChannel(channel._url)

    def put(self, channel: Channel, payload: bytes) -> None:
        assert isinstance(channel, NatsChannel)
        client = channel._client
        client.run(client.stream.publish(channel._subject, payload))
