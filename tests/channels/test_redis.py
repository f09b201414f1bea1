"""Redis Streams, on a real server."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tallystick.backends._url import read_url
from tallystick.channels.base import Channel
from tallystick.channels.redis import FIELD, RedisChannel, connect
from tallystick.testing.channels import ChannelContract
from tests.services import service

pytestmark = pytest.mark.service("redis")


class TestRedis(ChannelContract):
    def make_channel(self) -> Channel:
        stream = f"test-{secrets.token_hex(6)}"
        return RedisChannel.from_url(f"{service('redis')}?stream={stream}&lease_seconds={self.lease_seconds}")

    def reopen(self, channel: Channel) -> Channel:
        assert isinstance(channel, RedisChannel)
        return RedisChannel(channel._url)

    def put(self, channel: Channel, payload: bytes) -> None:
        assert isinstance(channel, RedisChannel)
        client: Any = connect(read_url(service("redis"), default_port=6379, tls=False))
        client.xadd(channel.stream, {FIELD: payload})
        client.close()
