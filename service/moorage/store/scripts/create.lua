#!lua
-- Own a session that is new. KEYS: session. ARGV: format, owner, its sealed entry, idle (ms).
-- Returns {'owned', epoch, {field, value, ...}}, or {'held'} when there is one of that name.
local format, owner, entry, idle_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local session = KEYS[1]
if redis.call('EXISTS', session) == 1 then
  return {'held'}
end
local time = redis.call('TIME')
local epoch = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', session, 'v', format, 'head', 0, 'bytes', 0, 'kept', 0, 'eras', epoch .. ':0')
redis.call('HSET', session, 'owner', owner, 'epoch', epoch, 'entry', entry)
redis.call('PEXPIRE', session, idle_ms)
return {'owned', epoch, {'head', '0', 'eras', epoch .. ':0'}}
