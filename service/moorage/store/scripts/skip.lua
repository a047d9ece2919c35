#!lua flags=allow-oom
-- Go on in a session whose events cannot be kept: they take their offsets, and no position before them can be honoured. KEYS: session.
-- ARGV: epoch, offset of the first event, idle (ms), position on the bus, then (kind, stream, text) for each:
--   open, event, last as in append.lua; a short text of `open` is kept
--   drop   forgets a stream; takes no offset
-- Returns 1; also when that is done already (a retry); 0 when fenced; -1 when the log has more than the owner knows of.
local epoch, first, idle_ms, bus = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local session, WRITES, SHORT = KEYS[1], 5, 256
if redis.call('HGET', session, 'epoch') ~= epoch then
  return 0
end
local offset = first - 1
local found = redis.call('HMGET', session, 'head', 'kept')
local head, kept = tonumber(found[1]) + 0, tonumber(found[2]) + 0
local count = 0
for i = WRITES, #ARGV, 3 do
  if ARGV[i] == 'event' or ARGV[i] == 'last' then
    count = count + 1
  end
end
if count > 0 and head >= first + count - 1 then
  return 1
end
if head > offset then
  return -1
end
for i = WRITES, #ARGV, 3 do
  local kind, stream, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == 'open' then
    text = #text <= SHORT and text or '-'
    kept = kept + #text - redis.call('HSTRLEN', session, 'c:' .. stream)
    redis.call('HSET', session, 'c:' .. stream, text)
  else
    if kind ~= 'drop' then
      offset = offset + 1
    end
    if kind == 'event' then
      redis.call('HSET', session, 'l:' .. stream, offset, 't:' .. stream, offset)
    else
      kept = kept - redis.call('HSTRLEN', session, 'c:' .. stream)
      redis.call('HDEL', session, 'c:' .. stream, 'l:' .. stream, 't:' .. stream)
    end
  end
end
redis.call('HSET', session, 'head', offset, 'kept', math.max(0, kept), 'bus', bus)
redis.call('PEXPIRE', session, idle_ms)
return 1
