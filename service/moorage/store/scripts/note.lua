#!lua
-- Note what the next owner has to know, each thing in a field of its own. KEYS: session.
-- ARGV: epoch, idle (ms), most bytes of the session, (field, value)...; a value of '' takes the field away.
-- Returns 1, 0 when fenced, or -2 when there is no room: nothing is noted then.
local epoch, idle_ms, share, FIELDS = ARGV[1], ARGV[2], tonumber(ARGV[3]), 4
local session = KEYS[1]
if redis.call('HGET', session, 'epoch') ~= epoch then
  return 0
end
local kept, grown = tonumber(redis.call('HGET', session, 'kept')) + 0, 0
for i = FIELDS, #ARGV, 2 do
  grown = grown + #ARGV[i + 1] - redis.call('HSTRLEN', session, ARGV[i])
end
if grown > 0 and kept + grown > share then
  return -2
end
for i = FIELDS, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', session, ARGV[i])
  else
    redis.call('HSET', session, ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', session, 'kept', math.max(0, kept + grown))
redis.call('PEXPIRE', session, idle_ms)
return 1
