-- rollback: live goes back and is pinned there, or the canary is withdrawn.
--
-- KEYS  1 head HASH   2 digests HASH   3 history STREAM
--       4 prefix of the snapshots' keys (same slot; the version to go back to may be known to the head alone)
-- ARGV  1 request id (unique per wish, repeated on a retry)   2 stage prod|canary
--       3 version to roll back: the expected live or canary, '' for any
--       4 version to go back to, '' for the head's previous (prod only)   5 most history entries   6 channel
--       7 who   8 why   9 detail
-- Reply {status, live, canary}, both as they stand after the call, '' for none
--       OK       done
--       ALREADY  this request was carried out before, or things stand as wished; nothing was written
--       CAS      another version is live (or the canary) than the one to roll back
--       MISSING  there is no version to go back to
--
-- Why: after a rollback the next publish must not undo it, so the version is pinned until a promotion lifts the pin. A
-- production rollback withdraws the canary too: it was measured against a live version that no longer serves. Nothing
-- is left in `previous`, so that rolling back twice can never bring the bad version back.
-- PERSIST comes first: a rollback must also work when memory is full (Redis refuses only the first write of a script,
-- and never PERSIST).

local LOOKED_BACK = 64

local request, stage, from, to = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local head = redis.call('HMGET', KEYS[1], 'live', 'canary', 'previous', 'pinned')
local live, canary, previous, pinned = head[1] or '', head[2] or '', head[3] or '', head[4] or ''

for _, entry in ipairs(redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', LOOKED_BACK)) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'request' and entry[2][i + 1] == request then
      return {'ALREADY', live, canary}
    end
  end
end

if stage == 'canary' then
  if canary == '' then
    return {'ALREADY', live, canary}
  end
  if from ~= '' and from ~= canary then
    return {'CAS', live, canary}
  end
  from, to, canary = canary, '', ''
  redis.call('PERSIST', KEYS[4] .. from)
else
  if from ~= '' and from ~= live then
    return {'CAS', live, canary}
  end
  if to == '' then
    to = previous
  end
  local digest = to ~= '' and redis.call('HGET', KEYS[2], to)
  if not digest or redis.call('EXISTS', KEYS[4] .. to) == 0 then
    return {'MISSING', live, canary}
  end
  if live == to and pinned == to and canary == '' then
    return {'ALREADY', live, canary}
  end
  redis.call('PERSIST', KEYS[4] .. to)
  from, live, canary, pinned = live, to, '', to
  redis.call('HSET', KEYS[1], 'live', to, 'live_digest', digest, 'previous', '', 'pinned', to)
end
redis.call('HSET', KEYS[1], 'canary', '', 'canary_digest', '', 'canary_share', '0')

redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'kind', 'rollback', 'stage', stage, 'from', from, 'to', to,
  'live', live, 'canary', canary, 'pinned', pinned, 'request', request,
  'who', ARGV[7], 'why', ARGV[8], 'detail', ARGV[9])
redis.call('PUBLISH', ARGV[6], 'rollback ' .. from)
return {'OK', live, canary}
