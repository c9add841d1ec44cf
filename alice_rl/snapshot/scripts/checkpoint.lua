-- checkpoint: the sums of one shard and its next offset, in one write.
--
-- KEYS  1 owner HASH   2 shard HASH   3 lineage config STRING   4 meta HASH
-- ARGV  1 token   2 checkpoint id (unique per checkpoint, repeated on a retry)   3 config fingerprint
--       4 meta field that marks the partition as known   5 expected `next`, '' when there must be no shard yet
--       6 next   7 low   8 watermark in ms   9 tail fingerprint
--       10 how many of the following arguments are field, value pairs; what remains are fields to delete
-- Reply {status, the shard's next as it stands, or '' without a shard}
--       OK       written, and the owner's lease renewed
--       ALREADY  this very checkpoint is the one that stands; nothing was written
--       LINEAGE  the lineage was declared with another configuration, or never
--       FENCED   the token is not the owner's
--       CAS      the shard does not stand at the expected offset
--
-- Why: state and offset in one write are what makes a restart exact. The changed fields are a difference to the state
-- at the expected offset, so they may only land on that state: the answer to FENCED and CAS is reload, never merge.
-- A shard that moved was not read in vain, and a range that it has passed is no longer to blame.
-- HSET comes first: when memory is full Redis refuses the first write, and then nothing has been written.

local CHUNK = 1000 -- Lua's stack holds about 8000 arguments

local token, id, next_offset = ARGV[1], ARGV[2], ARGV[6]
local stands = redis.call('HMGET', KEYS[2], 'next', 'token', 'checkpoint')
local at = stands[1] or ''

if at == next_offset and stands[2] == token and stands[3] == id then
  return {'ALREADY', at}
end
if redis.call('GETRANGE', KEYS[3], 0, #ARGV[3]) ~= ARGV[3] .. ' ' then
  return {'LINEAGE', at}
end
local owner = redis.call('HMGET', KEYS[1], 'token', 'lease_ms', 'blamed')
if owner[1] ~= token then
  return {'FENCED', at}
end
if at ~= ARGV[5] then
  return {'CAS', at}
end

redis.call('HSET', KEYS[2], 'next', next_offset, 'low', ARGV[7], 'watermark_ms', ARGV[8], 'tail', ARGV[9],
  'token', token, 'checkpoint', id)
local deleted_from = 11 + tonumber(ARGV[10])
for first = 11, deleted_from - 1, CHUNK do
  redis.call('HSET', KEYS[2], unpack(ARGV, first, math.min(first + CHUNK, deleted_from) - 1))
end
for first = deleted_from, #ARGV, CHUNK do
  redis.call('HDEL', KEYS[2], unpack(ARGV, first, math.min(first + CHUNK - 1, #ARGV)))
end
redis.call('HSET', KEYS[4], ARGV[4], '1')
local clock = redis.call('TIME')
local now_ms = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', now_ms + tonumber(owner[2])))
if at ~= next_offset then
  redis.call('HDEL', KEYS[1], 'vain', 'suspect')
  local blamed_end = tonumber(string.match(owner[3] or '', ':(%d+)$') or '0')
  if blamed_end <= tonumber(next_offset) then
    redis.call('HDEL', KEYS[1], 'blamed', 'deaths')
  end
end
return {'OK', next_offset}
