-- Keep a session alive, and change fields of it. KEYS: session. ARGV: epoch, idle ms, (field, value)...
-- Returns 1, or 0 when fenced. With owner '' the session is free for whoever claims it.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
if #ARGV > 2 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
