#!lua flags=allow-oom
-- Keep a session alive, and change short fields of it. KEYS: session. ARGV: epoch, idle (ms), (field, value)...
-- Returns 1, or 0 when fenced. With owner '' the session is free for whoever claims it.
local epoch, idle_ms, FIELDS = ARGV[1], ARGV[2], 3
local session = KEYS[1]
if redis.call('HGET', session, 'epoch') ~= epoch then
  return 0
end
for i = FIELDS, #ARGV, 2 do
  redis.call('HSET', session, ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', session, idle_ms)
return 1
