-- publish: a new snapshot is stored under the next version and, in live mode, becomes live.
--
-- KEYS  1 head HASH   2 meta HASH   3 snapshots ZSET   4 digests HASH   5 history STREAM
--       6 prefix of the snapshots' keys (same slot; which ones are touched depends on what is stored)
-- ARGV  1 expected seq   2 run id for a head that has none   3 lineage   4 offsets as JSON {"partition":next}
--       5 digest   6 blob   7 mode live|candidate   8 newest versions to keep   9 seconds until the others expire
--       10 most history entries   11 channel   12 who   13 why   14 detail
--       15 the active lineage that this one takes over from, '' to publish as the active one
-- Reply {status, version, 1 when that version is live else 0, note}
--       OK       stored as `version`
--       ALREADY  the same digest is live or the newest, as `version`; nothing was written
--       LINEAGE  the lineage is not the active one; note: the one that is
--       CAS      seq is not the expected one; version: the seq that stands
--       OFFSETS  a partition would go back; note: which
--       PINNED   the lineage may not take over, because a version is pinned; note: which
--
-- Why: the version stands inside the blob's manifest, so the publisher names the seq it packed for, and a conflict means
-- read the head again. Two publishers at work are harmless: the second is told ALREADY, CAS or OFFSETS.
-- A lineage takes over in one step: it must have caught up with all that the one before has published, and becomes the
-- active one together with its first snapshot. The audit calls that `takeover`.
-- A pin keeps live as it is, and the snapshot is stored all the same.
-- SET comes first: when memory is full Redis refuses the first write, and then nothing has been written.
-- Nothing is ever deleted under a reader: versions that nobody refers to are left to expire, and a bounded number of
-- the oldest is looked at each time, so that a publish costs the same however many there are.

local SWEPT = 64

local run_id, lineage, offsets, digest, mode = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local keep = tonumber(ARGV[8])

local head = redis.call('HMGET', KEYS[1], 'seq', 'live', 'live_digest', 'canary', 'previous', 'pinned', 'lineage', 'offsets')
local seq = tonumber(head[1] or '0')
local live, live_digest, canary = head[2] or '', head[3] or '', head[4] or ''
local previous, pinned = head[5] or '', head[6] or ''
local newest = string.format('%.0f', seq)

if live ~= '' and live_digest == digest then
  return {'ALREADY', live, '1', ''}
end
if redis.call('HGET', KEYS[4], newest) == digest then
  return {'ALREADY', newest, live == newest and '1' or '0', ''}
end
local active = redis.call('HGET', KEYS[2], 'active_lineage') or ''
local replaced = ARGV[15]
if active ~= (replaced == '' and lineage or replaced) then
  return {'LINEAGE', newest, '0', active}
end
if newest ~= ARGV[1] then
  return {'CAS', newest, '0', ''}
end
if replaced ~= '' and pinned ~= '' then
  return {'PINNED', newest, '0', pinned}
end
if head[7] == lineage or head[7] == replaced then
  local offered = {}
  for partition, offset in string.gmatch(offsets, '"(%d+)"%s*:%s*(%d+)') do
    offered[partition] = tonumber(offset)
  end
  for partition, offset in string.gmatch(head[8] or '', '"(%d+)"%s*:%s*(%d+)') do
    if (offered[partition] or -1) < tonumber(offset) then
      return {'OFFSETS', newest, '0', partition}
    end
  end
end

seq = seq + 1
local version = string.format('%.0f', seq)
redis.call('SET', KEYS[6] .. version, ARGV[6])
for field, value in pairs({run_id = run_id, canary = '', canary_digest = '', canary_share = '0'}) do
  redis.call('HSETNX', KEYS[1], field, value)
end
if mode == 'live' and pinned == '' then
  previous, live, live_digest = live, version, digest
end
redis.call('HSET', KEYS[1], 'seq', version, 'live', live, 'live_digest', live_digest, 'previous', previous,
  'pinned', pinned, 'lineage', lineage, 'offsets', offsets)
if replaced ~= '' then
  redis.call('HSET', KEYS[2], 'active_lineage', lineage)
end
local clock = redis.call('TIME')
local now_ms = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
redis.call('ZADD', KEYS[3], now_ms, version)
redis.call('HSET', KEYS[4], version, digest)
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[10], '*', 'kind', replaced == '' and 'publish' or 'takeover', 'version', version, 'digest', digest,
  'live', live, 'lineage', lineage, 'offsets', offsets, 'who', ARGV[12], 'why', ARGV[13], 'detail', ARGV[14])

local referred = {[live] = true, [previous] = true, [canary] = true, [pinned] = true}
local function retire(candidate)
  if referred[candidate] or tonumber(candidate) > seq - keep then
    return
  end
  local ttl = redis.call('PTTL', KEYS[6] .. candidate)
  if ttl == -2 then
    redis.call('ZREM', KEYS[3], candidate)
    redis.call('HDEL', KEYS[4], candidate)
  elseif ttl == -1 then
    redis.call('EXPIRE', KEYS[6] .. candidate, ARGV[9])
  end
end
for _, candidate in ipairs(redis.call('ZRANGE', KEYS[3], 0, SWEPT - 1)) do
  retire(candidate)
end
for _, candidate in ipairs(redis.call('ZREVRANGE', KEYS[3], keep, keep + SWEPT - 1)) do
  retire(candidate)
end

redis.call('PUBLISH', ARGV[11], 'publish ' .. version)
return {'OK', version, live == version and '1' or '0', ''}
