#!lua flags=allow-oom
-- End a session. KEYS: session, log. ARGV: epoch. Returns 1, or 0 when fenced.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and epoch ~= ARGV[1] then
  return 0
end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
