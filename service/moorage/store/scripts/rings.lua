#!lua flags=allow-oom
-- Show what our ring seals, and see what the others' do. KEYS: marks. ARGV: ours, how long one stands (ms), most marks.
-- Returns the marks of the others, the newest first.
local mark, kept_ms, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local marks = KEYS[1]
if redis.call('TYPE', marks).ok ~= 'zset' then
  redis.call('UNLINK', marks) -- nothing of ours
end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', marks, '-inf', now - kept_ms)
redis.call('ZREMRANGEBYSCORE', marks, '(' .. now, '+inf')
redis.call('ZREMRANGEBYRANK', marks, 0, -most)
local found = redis.call('ZREVRANGE', marks, 0, most)
redis.call('ZADD', marks, now, mark)
redis.call('PEXPIRE', marks, kept_ms)
return found
