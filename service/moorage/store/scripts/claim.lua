#!lua flags=allow-oom
-- Own a session that is free. KEYS: session.
-- ARGV: format, owner, its sealed entry, idle (ms), owner taken for dead ('' for none), its epoch, '1' when there is room for the session.
-- Returns {'absent'}, {'newer', format}, {'held', owner, epoch, entry}, {'full'} when it could be had but for the room, or
-- {'owned', epoch, {field, value, ...}} with the fields as they were before, but for `eras`.
local format, owner, entry, idle_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local dead_owner, dead_epoch, room = ARGV[5], ARGV[6], ARGV[7] == '1'
local session = KEYS[1]
local found = redis.call('HMGET', session, 'owner', 'epoch', 'entry', 'v', 'head', 'eras')
local old_owner, old_epoch, head = found[1], found[2], found[5]
if redis.call('EXISTS', session) == 0 then
  return {'absent'}
end
if found[4] ~= format and (tonumber(found[4]) or 0) > tonumber(format) then
  return {'newer', found[4]}
end
local next_epoch = tonumber(old_epoch) + 1
local whole = old_owner and old_epoch:find('^%d+$') and head and head:find('^%d+$') and #old_epoch < 16 and #head < 16
if found[4] ~= format or not whole then
  error('unreadable')
end
local dead = old_owner == dead_owner and old_epoch == dead_epoch
if old_owner ~= '' and old_owner ~= owner and not dead then
  return {'held', old_owner, old_epoch, found[3] or ''}
end
if not room then
  return {'full'}
end
local time = redis.call('TIME')
local epoch = string.format('%d', math.max(time[1] * 1000 + math.floor(time[2] / 1000), next_epoch))
local eras = {} -- where each owner's writing began, the newest 32: what tells an offset of an owner whose writes the store has lost
for era in (found[6] or ''):gmatch('[^;]+') do
  eras[#eras + 1] = era
end
eras[#eras + 1] = epoch .. ':' .. head
redis.call('HSET', session, 'eras', table.concat(eras, ';', math.max(1, #eras - 31)))
local fields = redis.call('HGETALL', session) -- as one table: a script's stack has no room for thousands of values
redis.call('HSET', session, 'owner', owner, 'epoch', epoch, 'entry', entry)
redis.call('PEXPIRE', session, idle_ms)
return {'owned', epoch, fields}
