#!lua
-- Publish a notice. KEYS: bus. ARGV: format, kind, URI, how many are kept, how long (ms).
local format, kind, uri, most, kept_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local bus = KEYS[1]
local kept = redis.call('TYPE', bus).ok
if kept ~= 'stream' then
  redis.call('UNLINK', bus) -- nothing of ours
else
  local last = redis.call('XREVRANGE', bus, '+', '-', 'COUNT', 1)[1]
  local time = redis.call('TIME')
  if last and tonumber(last[1]:match('^%d+')) > (time[1] + 86400) * 1000 then
    redis.call('UNLINK', bus) -- an id of a day to come is nothing of ours, and the last of them would leave no room for another
  end
end
redis.call('XADD', bus, 'MAXLEN', '~', most, '*', 'v', format, 'k', kind, 'u', uri)
redis.call('PEXPIRE', bus, kept_ms)
return 1
