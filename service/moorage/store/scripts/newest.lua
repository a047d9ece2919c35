#!lua flags=allow-oom
-- The position of the newest entry; where there is none, of one that is made now. KEYS: bus.
-- ARGV: kind of the one, format, how long it is kept (ms).
local kind, format, kept_ms = ARGV[1], ARGV[2], ARGV[3]
local bus = KEYS[1]
if redis.call('TYPE', bus).ok ~= 'stream' then
  redis.call('UNLINK', bus) -- nothing of ours
end
local found = redis.call('XREVRANGE', bus, '+', '-', 'COUNT', 1)[1]
if found then
  return found[1]
end
local made = redis.call('XADD', bus, '*', 'v', format, 'k', kind, 'u', '')
redis.call('PEXPIRE', bus, kept_ms)
return made
