-- Read what follows a position of one stream. KEYS: session, log. ARGV: epoch, stream, offset.
-- Returns {0} when fenced, else {1, head, lost, last, open, (offset, kind, text)...}:
--   lost: the highest offset that the stream lost, or ''; last: its last one while it is open, or ''; open: what registered it, or ''
local found = redis.call('HMGET', KEYS[1], 'epoch', 'head', 't:' .. ARGV[2], 'l:' .. ARGV[2], 'c:' .. ARGV[2])
if found[1] ~= ARGV[1] then
  return {0}
end
local answer = {1, found[2], found[3] or '', found[4] or '', found[5] or ''}
for _, each in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[3] .. '-0', '+')) do
  local entry = each[2]
  if entry[2] == ARGV[2] then
    answer[#answer + 1] = (each[1]:gsub('-0$', ''))
    answer[#answer + 1] = entry[4]
    answer[#answer + 1] = entry[8]
  end
end
return answer
