-- Refresh an owner. KEYS: owner. ARGV: address, lease ms. Returns the store's clock in ms.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
