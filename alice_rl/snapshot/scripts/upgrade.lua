-- upgrade: a lineage goes on with a structure that extends the one it was declared with.
--
-- KEYS  1 lineage config STRING
-- ARGV  1 fingerprint that is expected to stand   2 fingerprint that extends it   3 configuration as JSON
-- Reply {status}
--       OK       written; checkpoints with the old fingerprint are refused from here on (checkpoint.lua, LINEAGE)
--       ALREADY  the extension stands; nothing was written
--       CAS      another structure stands, or none
--
-- Why: whether one structure extends another was compared outside, so it may only be written over the one that was
-- compared. Of two workers that start at once, one writes and the other finds it done.

local function stands(fingerprint)
  return redis.call('GETRANGE', KEYS[1], 0, #fingerprint) == fingerprint .. ' '
end

if stands(ARGV[2]) then
  return {'ALREADY'}
end
if not stands(ARGV[1]) then
  return {'CAS'}
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3])
return {'OK'}
