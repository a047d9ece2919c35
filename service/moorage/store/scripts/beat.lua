#!lua flags=allow-oom
-- Refresh an owner. KEYS: owner. ARGV: its sealed entry, lease (ms). Returns the store's clock (ms).
local entry, lease_ms = ARGV[1], ARGV[2]
redis.call('SET', KEYS[1], entry, 'PX', lease_ms)
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
