-- The position of the newest entry; where there is none, of one that is made now. KEYS: bus. ARGV: kind of the one, how long it is kept (ms).
local found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if found then
  return found[1]
end
local made = redis.call('XADD', KEYS[1], '*', 'k', ARGV[1], 'u', '')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return made
