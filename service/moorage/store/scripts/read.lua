#!lua flags=no-writes
-- Read what follows a position of one stream. KEYS: session, log. ARGV: epoch, stream, offset.
-- Returns {0} when fenced, else {1, head, lost, last, open, odd, (offset, kind, text)...}:
--   lost: the highest offset that the stream lost, or ''; last: its last one while it is open, or ''; open: what registered it, or '';
--   odd: how many entries are nothing of ours
local epoch, stream, after = ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('HMGET', KEYS[1], 'epoch', 'head', 't:' .. stream, 'l:' .. stream, 'c:' .. stream)
if found[1] ~= epoch then
  return {0}
end
local answer, odd = {1, found[2], found[3] or '', found[4] or '', found[5] or '', 0}, 0
for _, each in ipairs(redis.call('XRANGE', KEYS[2], '(' .. after .. '-0', '+')) do
  local at, entry = each[1]:match('^(%d+)%-0$'), each[2]
  if not at or #entry ~= 8 or entry[1] ~= 's' or entry[7] ~= 'd' or (entry[4] ~= 'event' and entry[4] ~= 'last') then
    odd = odd + 1
  elseif entry[2] == stream then
    answer[#answer + 1] = at
    answer[#answer + 1] = entry[4]
    answer[#answer + 1] = entry[8]
  end
end
answer[6] = odd
return answer
