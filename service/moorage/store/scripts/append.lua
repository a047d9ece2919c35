#!lua
-- Append events to a session's log. KEYS: session, log.
-- ARGV: epoch, offset of the first event, idle (ms), log (ms), most events, most bytes of the log, most bytes of the session, position on
-- the bus, then (kind, stream, text) for each:
--   open   registers a stream (text: what is needed to end it for its owner); takes no offset
--   event  an event; last: the event that ends its stream
-- Returns 1; also when the events are there already (a retry); 0 when fenced; -1 when the log has more than the owner knows of.
local epoch, first, idle_ms, log_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local most_events, most_bytes, share, bus = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local session, log, WRITES = KEYS[1], KEYS[2], 9
if redis.call('HGET', session, 'epoch') ~= epoch then
  return 0
end
local offset = first - 1
local found = redis.call('HMGET', session, 'head', 'bytes', 'kept')
local head, bytes, kept = tonumber(found[1]) + 0, tonumber(found[2]) + 0, tonumber(found[3]) + 0
local count = 0
for i = WRITES, #ARGV, 3 do
  if ARGV[i] ~= 'open' then
    count = count + 1
  end
end
if count > 0 and head >= first + count - 1 then
  return 1
end
if head > offset then
  return -1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if head > 0 and count > 0 and redis.call('EXISTS', log) == 0 then -- the whole log has expired: what each stream had is lost
  local fields = redis.call('HGETALL', session)
  for i = 1, #fields, 2 do -- of a stream that has ended nothing has to be known any more
    if fields[i]:sub(1, 2) == 't:' then
      redis.call('HDEL', session, fields[i])
    end
  end
  for i = 1, #fields, 2 do
    if fields[i]:sub(1, 2) == 'l:' then
      redis.call('HSET', session, 't:' .. fields[i]:sub(3), fields[i + 1])
    end
  end
  bytes = 0
end
if head < offset then -- the store has gone back to older data: what came since is lost, and no position before ours can be honoured
  local fields = redis.call('HKEYS', session)
  for i = 1, #fields do
    if fields[i]:sub(1, 2) == 'c:' then
      redis.call('HSET', session, 't:' .. fields[i]:sub(3), offset)
    end
  end
end
for i = WRITES, #ARGV, 3 do
  local kind, stream, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == 'open' then
    kept = kept - redis.call('HSTRLEN', session, 'c:' .. stream)
    if kept + #text > share then
      text = '-' -- known to be open, and of no use to a later owner
    end
    kept = kept + #text
    redis.call('HSET', session, 'c:' .. stream, text)
  else
    offset = offset + 1
    redis.call('XADD', log, string.format('%d-0', offset), 's', stream, 'k', kind, 'm', now, 'd', text)
    bytes = bytes + #text
    if kind == 'last' then
      kept = kept - redis.call('HSTRLEN', session, 'c:' .. stream)
      redis.call('HDEL', session, 'c:' .. stream, 'l:' .. stream)
    else
      redis.call('HSET', session, 'l:' .. stream, offset)
    end
  end
end
local length = redis.call('XLEN', log)
while length > 0 do
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  local at, entry = oldest[1]:match('^(%d+)%-0$'), oldest[2] -- s, stream, k, kind, m, ms, d, text
  local ours = at and #entry == 8 and entry[5] == 'm' and tonumber(entry[6])
  local full = bytes + kept > share
  if ours and not full then
    if length == 1 or (length <= most_events and bytes <= most_bytes and now - ours <= log_ms) then
      break
    end
  end
  redis.call('XDEL', log, oldest[1])
  length = length - 1
  if ours then -- what nobody of us wrote was never counted, and is no part of any stream
    bytes = bytes - #entry[8]
    if entry[4] == 'last' then
      redis.call('HDEL', session, 't:' .. entry[2])
    else
      redis.call('HSET', session, 't:' .. entry[2], at)
    end
  end
end
redis.call('HSET', session, 'head', offset, 'bytes', math.max(0, bytes), 'kept', math.max(0, kept), 'bus', bus)
redis.call('PEXPIRE', session, idle_ms)
redis.call('PEXPIRE', log, log_ms)
return 1
