-- Own a session. KEYS: session. ARGV: owner, address, idle ms, owner taken for dead ('' for none), its epoch, 'new' to create.
-- Returns {'absent'}, {'held', owner, epoch, address} or {'owned', epoch, field, value, ...} with the fields as they were before, but for `eras`.
local found = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'address')
local time = redis.call('TIME')
local epoch = time[1] * 1000 + math.floor(time[2] / 1000)
if not found[2] then
  if ARGV[6] ~= 'new' then
    return {'absent'}
  end
  redis.call('HSET', KEYS[1], 'head', 0, 'bytes', 0)
else
  local dead = found[1] == ARGV[4] and found[2] == ARGV[5]
  if found[1] ~= '' and found[1] ~= ARGV[1] and not dead then
    return {'held', found[1], found[2], found[3]}
  end
  epoch = math.max(epoch, found[2] + 1)
end
local text = string.format('%d', epoch)
local eras = {} -- where each owner's writing began, the newest 32: what tells an offset of an owner whose writes the store has lost
for era in (redis.call('HGET', KEYS[1], 'eras') or ''):gmatch('[^;]+') do
  eras[#eras + 1] = era
end
eras[#eras + 1] = text .. ':' .. redis.call('HGET', KEYS[1], 'head')
redis.call('HSET', KEYS[1], 'eras', table.concat(eras, ';', math.max(1, #eras - 31)))
local fields = redis.call('HGETALL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', text, 'address', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'owned', text, unpack(fields)}
