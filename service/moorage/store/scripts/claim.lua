-- Own a session. KEYS: session. ARGV: owner, address, idle ms, owner taken for dead ('' for none), its epoch, 'new' to create.
-- Returns {'absent'}, {'held', owner, epoch, address} or {'owned', epoch, field, value, ...} with the fields as they were before.
local found = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'address')
local time = redis.call('TIME')
local epoch = time[1] * 1000 + math.floor(time[2] / 1000)
if not found[2] then
  if ARGV[6] ~= 'new' then
    return {'absent'}
  end
  redis.call('HSET', KEYS[1], 'birth', string.format('%d', epoch), 'head', 0, 'bytes', 0)
else
  local dead = found[1] == ARGV[4] and found[2] == ARGV[5]
  if found[1] ~= '' and found[1] ~= ARGV[1] and not dead then
    return {'held', found[1], found[2], found[3]}
  end
  epoch = math.max(epoch, found[2] + 1)
end
local fields = redis.call('HGETALL', KEYS[1])
local text = string.format('%d', epoch)
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', text, 'address', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'owned', text, unpack(fields)}
