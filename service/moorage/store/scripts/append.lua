-- Append events to a session's log. KEYS: session, log.
-- ARGV: epoch, offset of the first event, idle ms, log ms, most events, most bytes, bus position, then (kind, stream, text) for each:
--   open   registers a stream (text: what is needed to end it for its owner); takes no offset
--   event  an event; last: the event that ends its stream
-- Returns 1; also when the events are there already (a retry); 0 when fenced; -1 when the log has more than the owner knows of.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
local first, offset = tonumber(ARGV[2]), tonumber(ARGV[2]) - 1
local head = tonumber(redis.call('HGET', KEYS[1], 'head'))
local count = 0
for i = 8, #ARGV, 3 do
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
local bytes = tonumber(redis.call('HGET', KEYS[1], 'bytes'))
if head > 0 and count > 0 and redis.call('EXISTS', KEYS[2]) == 0 then -- the whole log has expired: what each stream had is lost
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do -- of a stream that has ended nothing has to be known any more
    if fields[i]:sub(1, 2) == 't:' then
      redis.call('HDEL', KEYS[1], fields[i])
    end
  end
  for i = 1, #fields, 2 do
    if fields[i]:sub(1, 2) == 'l:' then
      redis.call('HSET', KEYS[1], 't:' .. fields[i]:sub(3), fields[i + 1])
    end
  end
  bytes = 0
end
if head < offset then -- the store has gone back to older data: what came since is lost, and no position before ours can be honoured
  local fields = redis.call('HKEYS', KEYS[1])
  for i = 1, #fields do
    if fields[i]:sub(1, 2) == 'c:' then
      redis.call('HSET', KEYS[1], 't:' .. fields[i]:sub(3), offset)
    end
  end
end
for i = 8, #ARGV, 3 do
  local kind, stream, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == 'open' then
    redis.call('HSET', KEYS[1], 'c:' .. stream, text)
  else
    offset = offset + 1
    redis.call('XADD', KEYS[2], string.format('%d-0', offset), 's', stream, 'k', kind, 'm', now, 'd', text)
    bytes = bytes + #text
    if kind == 'last' then
      redis.call('HDEL', KEYS[1], 'c:' .. stream, 'l:' .. stream)
    else
      redis.call('HSET', KEYS[1], 'l:' .. stream, offset)
    end
  end
end
local length = redis.call('XLEN', KEYS[2])
while length > 1 do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  local entry = oldest[2] -- s, stream, k, kind, m, ms, d, text
  if length <= tonumber(ARGV[5]) and bytes <= tonumber(ARGV[6]) and now - entry[6] <= tonumber(ARGV[4]) then
    break
  end
  redis.call('XDEL', KEYS[2], oldest[1])
  bytes = bytes - #entry[8]
  length = length - 1
  if entry[4] == 'last' then
    redis.call('HDEL', KEYS[1], 't:' .. entry[2])
  else
    redis.call('HSET', KEYS[1], 't:' .. entry[2], (oldest[1]:gsub('-0$', '')))
  end
end
redis.call('HSET', KEYS[1], 'head', offset, 'bytes', bytes, 'bus', ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
