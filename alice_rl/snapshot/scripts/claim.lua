-- claim: a worker takes a partition over and is given a fencing token.
--
-- KEYS  1 owner HASH   2 shard HASH   3 meta HASH
-- ARGV  1 nonce (unique per claim, repeated on a retry)   2 worker   3 epoch   4 lease in ms
--       5 meta field that marks the partition as known
-- Reply {status, token, shard exists 0|1, partition known 0|1, lease end in ms, claims in vain before this one,
--        range 'first:end' in which the last owners died or '', how many of them}
--       OK       the caller owns the partition; every earlier token is fenced
--       ALREADY  this very claim is the current one; nothing was written
--       FENCED   this very claim was granted, and superseded since; nothing was written
--
-- Why: the consumer group has decided who reads the partition, so a new claim always succeeds. The group's generation
-- cannot fence (it is private, -1 under assign(), and may restart), so Redis issues the token.
-- A token is the clock in microseconds, or one more than any token seen here: a failover that loses a claim cannot
-- hand its token out again. Numbers stay below 2^53, and are written with %.0f because Lua would round them.
-- The last 8 claims are remembered, so that a delayed repetition of an old claim cannot fence the new owner.
-- A claim is in vain when no checkpoint moved the shard before the next one: many in a row, and something in the log
-- kills its reader. Where a reader left word of what it was folding (suspect.lua), that range is blamed for its death.

local REMEMBERED = 8

local nonce, known_field = ARGV[1], ARGV[5]
local owner = redis.call('HMGET', KEYS[1], 'token', 'lease', 'claims', 'vain', 'suspect', 'blamed', 'deaths')
local token, lease, claims = owner[1] or '0', owner[2] or '0', owner[3] or ''
local vain, suspect, blamed, deaths = owner[4] or '', owner[5] or '', owner[6] or '', owner[7] or '0'
local exists = string.format('%.0f', redis.call('EXISTS', KEYS[2]))
local known = string.format('%.0f', redis.call('HEXISTS', KEYS[3], known_field))

local _, found = string.find(' ' .. claims, ' ' .. nonce .. ':', 1, true)
if found then
  local granted = string.match(' ' .. claims, '^%d+', found + 1)
  return {granted == token and 'ALREADY' or 'FENCED', granted, exists, known, lease, vain, blamed, deaths}
end

local clock = redis.call('TIME')
local now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local written = tonumber(redis.call('HGET', KEYS[2], 'token') or '0')
token = string.format('%.0f', math.max(now_us, tonumber(token) + 1, written + 1))
lease = string.format('%.0f', math.floor(now_us / 1000) + tonumber(ARGV[4]))

local kept = {}
for claim in string.gmatch(claims, '%S+') do
  kept[#kept + 1] = claim
end
kept[#kept + 1] = nonce .. ':' .. token
claims = table.concat(kept, ' ', math.max(1, #kept - REMEMBERED + 1))

vain = vain == '' and '0' or string.format('%.0f', tonumber(vain) + 1)
if suspect ~= '' then
  deaths = suspect == blamed and string.format('%.0f', tonumber(deaths) + 1) or '1'
  blamed = suspect
end

redis.call('HSET', KEYS[1], 'token', token, 'worker', ARGV[2], 'epoch', ARGV[3],
  'lease', lease, 'lease_ms', ARGV[4], 'claims', claims, 'vain', vain, 'suspect', '', 'blamed', blamed, 'deaths', deaths)
return {'OK', token, exists, known, lease, vain, blamed, deaths}
