"""What happens in the Redis server, each in one step.

KEYS: queue, in progress, and ours: a sorted set from a batch to when its lease ends, in milliseconds. Beside it stand,
by the batch's name, `:owners` (who has it), `:counts` (how often it was given out) and a list of its entries.
"""

from __future__ import annotations

from typing import Final

_COMMON: Final = """
local leases, owners, counts = KEYS[3], KEYS[3] .. ':owners', KEYS[3] .. ':counts'
local function list(batch) return KEYS[3] .. ':' .. batch end
local function now() local t = redis.call('TIME'); return t[1] * 1000 + math.floor(t[2] / 1000) end
local function forget(batch)
  redis.call('DEL', list(batch)); redis.call('ZREM', leases, batch)
  redis.call('HDEL', owners, batch); redis.call('HDEL', counts, batch)
end
"""

# ARGV: name of a new batch, owner, lease in ms, entries, bytes
TAKE: Final = f"""{_COMMON}
local batch = redis.call('ZRANGEBYSCORE', leases, '-inf', now(), 'LIMIT', 0, 1)[1]
if not batch then
  batch = ARGV[1]
  local bytes, count = 0, 0
  while count < tonumber(ARGV[4]) and bytes < tonumber(ARGV[5]) do
    local entry = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
    if not entry then break end
    redis.call('RPUSH', list(batch), entry)
    bytes, count = bytes + #entry, count + 1
  end
  if count == 0 then return false end
end
redis.call('ZADD', leases, now() + ARGV[3], batch)
redis.call('HSET', owners, batch, ARGV[2])
return {{batch, redis.call('HINCRBY', counts, batch, 1), redis.call('LRANGE', list(batch), 0, -1)}}
"""

_MINE: Final = f"""{_COMMON}
if redis.call('HGET', owners, ARGV[1]) ~= ARGV[2] then return 0 end
"""

# ARGV: batch, owner
ACK: Final = f"""{_MINE}
local entries = redis.call('LRANGE', list(ARGV[1]), 0, -1)
for index = #entries, 1, -1 do redis.call('LREM', KEYS[2], 1, entries[index]) end
forget(ARGV[1])
return 1
"""

# ARGV: batch, owner, lease in ms
KEEP: Final = f"""{_MINE}
redis.call('ZADD', leases, now() + ARGV[3], ARGV[1])
return 1
"""

# ARGV: batch, owner
GIVE_BACK: Final = f"""{_MINE}
redis.call('ZADD', leases, 0, ARGV[1])
redis.call('HINCRBY', counts, ARGV[1], -1)
return 1
"""

# ARGV: name of a new batch, entries
ADOPT: Final = f"""{_COMMON}
local found = 0
for index = 2, #ARGV do
  if redis.call('LREM', KEYS[2], -1, ARGV[index]) == 1 then
    redis.call('LPUSH', KEYS[2], ARGV[index])
    redis.call('RPUSH', list(ARGV[1]), ARGV[index])
    found = found + 1
  end
end
if found > 0 then redis.call('ZADD', leases, 0, ARGV[1]) end
return found
"""

# The entries of all batches.
HELD: Final = """
local held = {}
for _, batch in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1] .. ':' .. batch, 0, -1)) do held[#held + 1] = entry end
end
return held
"""

# KEYS: queue, what was sent of this segment (from where to where); ARGV: start, end, then place and entry by turns.
SEND: Final = """
local done = ARGV[1]
while true do
  local upto = redis.call('HGET', KEYS[2], done)
  if not upto then break end
  done = upto
end
for index = 3, #ARGV, 2 do
  if tonumber(ARGV[index]) >= tonumber(done) then redis.call('LPUSH', KEYS[1], ARGV[index + 1]) end
end
if tonumber(ARGV[2]) > tonumber(done) then redis.call('HSET', KEYS[2], done, ARGV[2]) end
redis.call('EXPIRE', KEYS[2], 86400)
return 1
"""
