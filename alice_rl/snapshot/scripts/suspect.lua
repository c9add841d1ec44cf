-- suspect: the range of offsets that a worker is about to fold, so that the next one knows what killed it.
--
-- KEYS  1 owner HASH
-- ARGV  1 token   2 range 'first:end', '' when it was folded without harm
-- Reply {status}
--       OK       written; repeating it changes nothing
--       FENCED   the token is not the owner's
--
-- Why: left only when claims were in vain, because it costs a round trip per fold; claim.lua reads it.

if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return {'FENCED'}
end
redis.call('HSET', KEYS[1], 'suspect', ARGV[2])
return {'OK'}
