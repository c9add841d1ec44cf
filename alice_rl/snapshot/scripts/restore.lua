-- restore: a lineage becomes what a savepoint held, all of it in one step, and whoever held its partitions is fenced.
--
-- KEYS  1 meta HASH   2 lineage config STRING   3 head HASH   4 snapshots ZSET   5 digests HASH   6 history STREAM
--       7 prefix of the snapshots' keys   8 of the lineage's shards   9 of its owners   10 of the staged shards
--       11 of the staged snapshots (same slot; which ones are touched depends on what is stored)
-- ARGV  1 request id (unique per wish, repeated on a retry; also the head's new run id)   2 force 1|''   3 lineage
--       4 config   5 start of the meta fields that mark a partition as known
--       6 active 1|'': whether the lineage publishes, and head, snapshots and history are the savepoint's
--       7 seconds until a version that the savepoint does not have expires   8 most history entries   9 channel
--       10 who   11 why   12 detail
--       then five lists, each after its length: partitions; field, value pairs of meta; field, value pairs of the head;
--       version, publish time, digest of every snapshot; history entries: id, number of arguments, field, value, ...
-- Reply {status, note}
--       OK       done
--       ALREADY  this request was carried out before; nothing was written
--       CAS      something lives here and force was not given; note: what
--       MISSING  a staged key is gone; note: which
--
-- Why: the big values were staged under names of their own beforehand, where running full hurts nobody. Here they are
-- renamed, so workers and clients see the old state or the new one and never a mixture. RENAME and DEL come first: when
-- memory is full Redis refuses only the first write of a script, and never those.
-- An owner's token is raised as `claim` would, so the next checkpoint of a worker that runs is told FENCED; where there
-- is no owner, every token is fenced already. Versions that the savepoint does not have leave the lists, because their
-- numbers will be issued again, and are left to expire: nothing is deleted under a reader.
-- A history that exists goes on, because an audit only grows; the savepoint's is used where there is none.

local LOOKED_BACK = 64

local request, lineage, active = ARGV[1], ARGV[3], ARGV[6] == '1'
local at = 12
local function take()
  at = at + 1
  return ARGV[at]
end
local function take_list(width)
  local list = {}
  for i = 1, tonumber(take()) do
    list[i] = {}
    for j = 1, width do
      list[i][j] = take()
    end
  end
  return list
end
local partitions, known, head, versions = take_list(1), take_list(2), take_list(2), take_list(3)

for _, entry in ipairs(redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', LOOKED_BACK)) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'request' and entry[2][i + 1] == request then
      return {'ALREADY', ''}
    end
  end
end

local stored = {} -- partitions of the lineage that Redis knows
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, #ARGV[5]) == ARGV[5] then
    stored[#stored + 1] = string.sub(field, #ARGV[5] + 1)
  end
end
if ARGV[2] ~= '1' then
  local standing = redis.call('HGET', KEYS[1], 'active_lineage') or ''
  if redis.call('EXISTS', KEYS[2]) == 1 or #stored > 0 then
    return {'CAS', 'lineage'}
  end
  if active and (redis.call('EXISTS', KEYS[3]) == 1 or (standing ~= '' and standing ~= lineage)) then
    return {'CAS', 'head'}
  end
end
for _, one in ipairs(partitions) do
  if redis.call('EXISTS', KEYS[10] .. one[1]) == 0 then
    return {'MISSING', KEYS[10] .. one[1]}
  end
end
for _, one in ipairs(versions) do
  if redis.call('EXISTS', KEYS[11] .. one[1]) == 0 then
    return {'MISSING', KEYS[11] .. one[1]}
  end
end

local clock = redis.call('TIME')
local now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now_ms = string.format('%.0f', math.floor(now_us / 1000))
local function fence(partition, written)
  local owner = KEYS[9] .. partition
  if redis.call('EXISTS', owner) == 1 then
    local token = tonumber(redis.call('HGET', owner, 'token') or '0')
    token = string.format('%.0f', math.max(now_us, token + 1, written + 1))
    redis.call('HSET', owner, 'token', token, 'lease', now_ms)
  end
end
local function written_token(key)
  return tonumber(redis.call('HGET', key, 'token') or '0')
end

local saved = {}
for _, one in ipairs(partitions) do
  local shard, staged = KEYS[8] .. one[1], KEYS[10] .. one[1]
  local written = math.max(written_token(shard), written_token(staged))
  redis.call('RENAME', staged, shard)
  redis.call('PERSIST', shard)
  fence(one[1], written)
  saved[one[1]] = true
end
for _, partition in ipairs(stored) do
  if not saved[partition] then
    local written = written_token(KEYS[8] .. partition)
    redis.call('DEL', KEYS[8] .. partition)
    fence(partition, written)
  end
  redis.call('HDEL', KEYS[1], ARGV[5] .. partition)
end
redis.call('SET', KEYS[2], ARGV[4])
for _, pair in ipairs(known) do
  redis.call('HSET', KEYS[1], pair[1], pair[2])
end

local live = ''
if active then
  redis.call('HSET', KEYS[1], 'active_lineage', lineage)
  local kept = {}
  for _, one in ipairs(versions) do
    redis.call('RENAME', KEYS[11] .. one[1], KEYS[7] .. one[1])
    redis.call('PERSIST', KEYS[7] .. one[1])
    kept[one[1]] = true
  end
  for _, version in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
    if not kept[version] and redis.call('PTTL', KEYS[7] .. version) == -1 then
      redis.call('EXPIRE', KEYS[7] .. version, ARGV[7])
    end
  end
  redis.call('DEL', KEYS[4], KEYS[5], KEYS[3])
  for _, one in ipairs(versions) do
    redis.call('ZADD', KEYS[4], one[2], one[1])
    redis.call('HSET', KEYS[5], one[1], one[3])
  end
  for _, pair in ipairs(head) do
    redis.call('HSET', KEYS[3], pair[1], pair[1] == 'run_id' and request or pair[2])
    live = pair[1] == 'live' and pair[2] or live
  end
  local goes_on = redis.call('EXISTS', KEYS[6]) == 1
  for _ = 1, tonumber(take()) do
    local id, arguments = take(), {}
    for i = 1, tonumber(take()) do
      arguments[i] = take()
    end
    if not goes_on then
      redis.call('XADD', KEYS[6], id, unpack(arguments))
    end
  end
end

redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[8], '*', 'kind', 'restore', 'lineage', lineage, 'live', live,
  'request', request, 'who', ARGV[10], 'why', ARGV[11], 'detail', ARGV[12])
redis.call('PUBLISH', ARGV[9], 'restore ' .. live)
return {'OK', ''}
