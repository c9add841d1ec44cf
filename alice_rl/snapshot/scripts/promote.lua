-- promote: a stored version becomes live or the canary; with a pin, it also stays live.
--
-- KEYS  1 head HASH   2 snapshot STRING of the version   3 digests HASH   4 history STREAM
-- ARGV  1 request id (unique per wish, repeated on a retry)   2 version   3 stage prod|canary   4 canary share
--       5 expected live version, '' for any   6 pin keep|pin|unpin   7 most history entries   8 channel
--       9 who   10 why   11 detail   12 live, canary and pin as they are expected, between spaces; '' for any
-- Reply {status, live, canary}, both as they stand after the call, '' for none
--       OK       done
--       ALREADY  this request was carried out before, or things stand as wished; nothing was written
--       MISSING  no such version is stored
--       CAS      live is not the expected version, or live, canary and pin are not as expected
--       PINNED   another version is pinned and the request does not lift the pin
--
-- Why: the audit is also the memory of what was carried out, so a repeated request is found there however the head has
-- moved since. PERSIST comes first: the version may be about to expire, and a promotion must also work when memory is
-- full (Redis refuses only the first write of a script, and never PERSIST).

local LOOKED_BACK = 64

local request, version, stage, share, pin = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local head = redis.call('HMGET', KEYS[1], 'live', 'canary', 'canary_share', 'previous', 'pinned')
local live, canary, standing_share = head[1] or '', head[2] or '', head[3] or '0'
local previous, pinned = head[4] or '', head[5] or ''

for _, entry in ipairs(redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', LOOKED_BACK)) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'request' and entry[2][i + 1] == request then
      return {'ALREADY', live, canary}
    end
  end
end
local digest = redis.call('HGET', KEYS[3], version)
if not digest or redis.call('EXISTS', KEYS[2]) == 0 then
  return {'MISSING', live, canary}
end
if ARGV[5] ~= '' and ARGV[5] ~= live then
  return {'CAS', live, canary}
end
if ARGV[12] ~= '' and ARGV[12] ~= live .. ' ' .. canary .. ' ' .. pinned then
  return {'CAS', live, canary}
end

local kind = 'promote'
if stage == 'canary' then
  if canary == version and standing_share == share then
    return {'ALREADY', live, canary}
  end
  redis.call('PERSIST', KEYS[2])
  canary = version
  redis.call('HSET', KEYS[1], 'canary', version, 'canary_digest', digest, 'canary_share', share)
else
  if pin == 'keep' and pinned ~= '' and pinned ~= version then
    return {'PINNED', live, canary}
  end
  local wished_pin = pinned
  if pin ~= 'keep' then
    wished_pin = pin == 'pin' and version or ''
  end
  if live == version and pinned == wished_pin and canary ~= version then
    return {'ALREADY', live, canary}
  end
  redis.call('PERSIST', KEYS[2])
  if live == version and pinned ~= wished_pin then
    kind = pin
  elseif live ~= version then
    previous = live
  end
  live, pinned = version, wished_pin
  redis.call('HSET', KEYS[1], 'live', version, 'live_digest', digest, 'previous', previous, 'pinned', pinned)
  if canary == version then
    canary = ''
    redis.call('HSET', KEYS[1], 'canary', '', 'canary_digest', '', 'canary_share', '0')
  end
end

redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], '*', 'kind', kind, 'version', version, 'digest', digest,
  'stage', stage, 'share', share, 'live', live, 'canary', canary, 'pinned', pinned, 'request', request,
  'who', ARGV[9], 'why', ARGV[10], 'detail', ARGV[11])
redis.call('PUBLISH', ARGV[8], kind .. ' ' .. version)
return {'OK', live, canary}
