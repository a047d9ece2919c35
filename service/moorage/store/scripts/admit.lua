#!lua flags=allow-oom
-- Count a session in for its principal. KEYS: principal's set. ARGV: tag, most sessions, idle (ms).
-- Returns how many the principal has with it, or 0 when there is no room.
local tag, most, idle_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local principal = KEYS[1]
if redis.call('TYPE', principal).ok ~= 'zset' then
  redis.call('UNLINK', principal) -- nothing of ours
end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', principal, '-inf', now)
redis.call('ZREMRANGEBYSCORE', principal, now + 2 * idle_ms, '+inf') -- nothing of ours: it would count for ever
if not redis.call('ZSCORE', principal, tag) and redis.call('ZCARD', principal) >= most then
  return 0
end
redis.call('ZADD', principal, now + idle_ms, tag)
redis.call('PEXPIRE', principal, idle_ms)
return redis.call('ZCARD', principal)
