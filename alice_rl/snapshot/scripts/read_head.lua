-- read_head: the head and Redis's clock, in one reply.
--
-- KEYS  1 head HASH
-- Reply {now in ms, {field, value, ...}}; the inner list is empty before the first publish
--
-- Why: a reader compares the head with the time it was read at, and two commands could fall on two sides of a failover.
-- It writes nothing, so it may be repeated freely.

local clock = redis.call('TIME')
local now_ms = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
return {string.format('%.0f', now_ms), redis.call('HGETALL', KEYS[1])}
