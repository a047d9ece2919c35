#!lua flags=allow-oom
-- Do once all that the other scripts and commands do to a key, so that a user who may not is told which. KEYS: one that nobody uses.
local key = KEYS[1]
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    error(command .. ': ' .. answer.err) -- releases before 7.2 do not say which command was refused
  end
end
try('TIME')
try('SET', key, '1', 'PX', 1000)
try('GET', key)
try('TYPE', key)
try('EXISTS', key)
try('DEL', key)
try('HSET', key, 'field', '1')
try('PEXPIRE', key, 1000)
try('HGET', key, 'field')
try('HMGET', key, 'field')
try('HGETALL', key)
try('HKEYS', key)
try('HSTRLEN', key, 'field')
try('HDEL', key, 'field')
try('UNLINK', key)
try('XADD', key, '1-1', 'field', '1')
try('XLEN', key)
try('XRANGE', key, '-', '+')
try('XREVRANGE', key, '+', '-')
try('XREAD', 'STREAMS', key, '0-0')
try('XDEL', key, '1-1')
try('UNLINK', key)
try('ZADD', key, 1, 'member')
try('ZCARD', key)
try('ZSCORE', key, 'member')
try('ZREVRANGE', key, 0, 1)
try('ZREMRANGEBYRANK', key, 1, 1)
try('ZREMRANGEBYSCORE', key, 2, 3)
try('ZREM', key, 'member')
try('UNLINK', key)
return 1
